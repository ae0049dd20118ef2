import { describeSecretStore } from '../../conformance/secret-store.ts';
import { describeOn } from '../../servers/describe.ts';
import { openAwsPlace } from './aws-support.ts';

const lacks = { overwritePlain: 'writing there takes a call', denied: 'it lets everybody do everything' } as const;

describeOn('moto', 'aws on moto', (server) => {
  describeSecretStore('aws on moto', {
    open: () => openAwsPlace(server),
    lacks,
    deviations: {
      'older-revision': {
        what: 'once its label was moved, what a person puts is AWSCURRENT beside the one that was',
        shows: /strictly deep-equal[^]*revision: 1/,
      },
    },
  });
});

describeOn('ministack', 'aws on ministack', (server) => {
  describeSecretStore('aws on ministack', {
    open: () => openAwsPlace(server),
    lacks,
    deviations: {
      empty: { what: 'a secret without a value has a version that is current and has none', shows: /^it is failed$/ },
    },
  });
});

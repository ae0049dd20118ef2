/** What a policy for the practice upstream is made of. */
export interface StarterOptions {
  readonly secret: string;
  /** Origin of the practice upstream. */
  readonly upstream: string;
  /** Where its token is, relative to the policy. */
  readonly tokenFile: string;
  readonly receivers: number;
  readonly refreshEvery: string;
  readonly grace: string;
  readonly quiet: string;
}

/** The policy of `keyturn init`, and of the demo: a sandbox with gates so short that a rotation can be watched. */
export function starterPolicy(options: StarterOptions): string {
  const { secret, upstream, tokenFile, receivers, refreshEvery, grace, quiet } = options;
  return `{
  "$schema": "./node_modules/keyturn/rotation-policy.schema.json",
  "version": 1,
  "environments": {
    // Short waits, so that you can watch. In production say only how many receivers there are, and leave the rest.
    "sandbox": {
      "defaults": {
        "receivers": { "expect": ${String(receivers)}, "reportEvery": "500ms", "missingAfter": "30s", "refreshEvery": "${refreshEvery}" },
        "gates": { "grace": "${grace}", "quiet": "${quiet}" }
      }
    }
  },
  "secrets": {
    "${secret}": {
      "rotateEvery": "30d",
      "scheme": "github",
      "upstream": {
        "kind": "http",
        "allowHosts": ["127.0.0.1"],
        "credentials": { "token": { "file": "${tokenFile}" } },
        "capabilities": { "valueOrigin": "ours", "activation": "on-push", "overlap": "none", "retriesResigned": "yes" },
        "steps": {
          "activate": {
            "method": "PATCH",
            "url": "${upstream}/hook",
            "headers": { "authorization": "Bearer {{credentials.token}}" },
            "json": { "secret": "{{new}}" },
            "expect": [200]
          }
        }
      }
    }
  }
}
`;
}

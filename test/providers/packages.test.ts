import { expect, it } from 'vitest';
import { optionalPackage } from '../../providers/packages.ts';
import { expectCode } from '../conformance/secret-store.ts';

it('a package that is not installed is a sentence with the command that installs it', async () => {
  const absent = ['keyturn', 'has', 'no', 'such', 'package'].join('-');
  const error = await expectCode(
    optionalPackage(absent, 'A store of kind none', () => import(/* @vite-ignore */ absent)),
    'package-missing',
  );
  expect(error.message).toBe(`A store of kind none needs the package ${absent}, which is not installed.`);
  expect(error.hint).toBe(`npm install ${absent}`);
});

it('a package that is there and broken is not called missing', async () => {
  const broken = Object.assign(new Error("Cannot find package 'inner' imported from outer"), {
    code: 'ERR_MODULE_NOT_FOUND',
  });
  await expect(optionalPackage('outer', 'A store', () => Promise.reject(broken))).rejects.toBe(broken);
});

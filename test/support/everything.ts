import { test } from 'node:test';

/** TEST_ALL=on, as .ci/run sets it: also what takes long. */
export const everything = process.env['TEST_ALL'] === 'on';

/** For `skip` of a test. */
export const unlessEverything = !everything && 'it takes long: TEST_ALL=on';

type Declare = (name: string, run: (t: test.TestContext) => void | Promise<void>) => void;

/** A test that takes long: without TEST_ALL it is skipped. */
export const slow: Declare = (name, run) => void test(name, { skip: unlessEverything }, run);

/** One of many tests that are alike, of which some are enough without TEST_ALL. */
export const slowIf = (condition: boolean | undefined): Declare =>
  condition ? slow : (name, run) => void test(name, run);

/** TEST_ALL=on, as .ci/run sets it: also what takes long, a file of 2 GB and a browser. */
export const everything = process.env['TEST_ALL'] === 'on';

/** For `skip` of a test. */
export const unlessEverything = !everything && 'it takes long: TEST_ALL=on';

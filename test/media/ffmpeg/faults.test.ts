import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runFault } from '../../../worker/media/ffmpeg/faults.ts';

// Exits that cannot be made at will: ffmpeg says in some runs only that it had no memory. The others are in
// ffmpeg.test.ts.

const tool = { version: '7.1', libavcodec: 61 };
const noFrame =
  '[h264 @ 0x55] get_buffer() failed\n[dec:h264 @ 0x55] Error submitting packet to decoder: Invalid data\n';
const cases: [what: string, code: number, stderr: string, verdict: string | undefined][] = [
  ['no memory, by its exit code alone', 244, 'Nothing was written into output file', 'RetryableError out_of_memory'],
  ['no memory for frames, and it goes on without them', 0, noFrame, 'RetryableError out_of_memory'],
  ['no memory for frames, in an older one', 1, noFrame, 'RetryableError out_of_memory'],
  ['a full disk, by its exit code alone', 228, '', 'DeploymentError disk_full'],
  ['a frame of a size that is not accepted', 0, `Picture size 0x9 is invalid\n${noFrame}`, undefined],
  ['the same, and it ends', 183, `Picture size 0x9 is invalid\n${noFrame}`, 'PermanentError media_corrupt'],
];
for (const [what, code, stderr, verdict] of cases)
  test(`ffmpeg ends: ${what}`, () => {
    const fault = runFault({ code, stderr }, tool);
    assert.equal(fault && `${fault.name} ${fault.code}`, verdict);
  });

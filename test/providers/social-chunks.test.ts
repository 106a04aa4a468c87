import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chunkOf, planOf } from '../../worker/providers/social/tiktok/chunks.ts';

// TikTok's rule for chunks, for files of any size.

test('chunks have the sizes that TikTok takes, their number is rounded down, and together they are the file', () => {
  const size = fc.oneof(fc.integer({ min: 1, max: 200_000_000 }), fc.integer({ min: 1, max: 4_000_000_000 }));
  fc.assert(
    fc.property(size, (bytes) => {
      const plan = planOf(bytes);
      const { chunk_size, total_chunk_count: count } = plan;
      assert.equal(count, Math.max(1, Math.floor(bytes / chunk_size)));
      assert.ok(count >= 1 && count <= 1_000);
      if (count === 1) assert.ok(chunk_size === bytes && bytes <= 64_000_000);
      else assert.ok(chunk_size >= 5_000_000 && chunk_size <= 64_000_000);
      let at = 0;
      for (let n = 0; n < count; n++) {
        const { start, end } = chunkOf(plan, n);
        assert.equal(start, at);
        assert.ok(n === count - 1 ? end - start < 128_000_000 : end - start === chunk_size);
        at = end;
      }
      assert.equal(at, bytes);
    }),
    { numRuns: 2_000 },
  );
});

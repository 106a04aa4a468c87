import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { judge } from '../../../worker/media/image/judge.ts';
import { makeVariants } from '../../../worker/media/image/variants.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { sharp } from '../../../worker/media/image/sharp.ts';
import { label } from '../../../worker/media/image/sniff.ts';
import { avifBomb, picture, pngBomb, truncated } from '../../support/pictures.ts';

let dir: string;
before(async () => void (dir = await mkdtemp(join(tmpdir(), 'rowmill-refusals-'))));
after(() => rm(dir, { recursive: true }));

const memory = createMemoryGate({ bytes: 256e6, slots: 2 });

/** That the file fails for good, with this code and message, and that neither names our temporary file. */
function refuses(what: string, file: () => Buffer | Promise<Buffer>, code: string, message: RegExp) {
  it(`${what}: ${code}`, async () => {
    const path = join(dir, 'original');
    await writeFile(path, await file());
    const made = makeVariants(path, [{ name: 'display', width: 1600 }], {
      signal: new AbortController().signal,
      memory,
    });
    await assert.rejects(made, (error: Error & { code?: string }) => {
      assert.equal(`${error.name} ${error.code}`, `PermanentError ${code}`);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /original|rowmill|\n/);
      return true;
    });
    assert.equal(await memory.run(256e6, new AbortController().signal, async () => 'free'), 'free');
  });
}

const bytes = (text: string) => () => Buffer.from(text, 'latin1');

describe('What is no picture is refused', () => {
  refuses('nothing at all', bytes(''), 'empty_file', /is empty/);
  refuses('one byte', bytes('x'), 'not_an_image', /looks like text\/plain/);
  refuses('an error page', bytes('\n<!DOCTYPE html><html><body>502'), 'not_an_image', /looks like text\/html/);
  refuses('an error message', bytes('{"error":"not found"}'), 'not_an_image', /looks like application\/json/);
  refuses('a text', () => Buffer.from('Grüße '.repeat(500)), 'not_an_image', /looks like text\/plain/);
  refuses('an archive', bytes('PK\x03\x04' + '\0'.repeat(60)), 'not_an_image', /looks like application\/zip/);
  refuses('a film', bytes('\0\0\0\x18ftypisom\0\0\0\0isommp42'), 'not_an_image', /looks like video\/mp4/);
  refuses('a playlist of ffmpeg', bytes('ffconcat version 1.0\nfile /etc/passwd\n'), 'not_an_image', /text\/plain/);
  refuses('zeros', () => Buffer.alloc(5000), 'not_an_image', /data of no known type/);
});

describe('A picture of another format is refused by name', () => {
  const unsupported = (what: string, text: string, name: RegExp) =>
    refuses(
      what,
      bytes(text),
      'unsupported_image_format',
      new RegExp(`${name.source}.*JPEG, PNG, WebP, GIF, AVIF, HEIC and TIFF`),
    );
  unsupported('JPEG in HEIF', '\0\0\0\x18ftypmif1\0\0\0\0mif1jpeg', /HEIF/);
  unsupported('SVG', '<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', /SVG/);
  unsupported('SVG with a prolog', '<?xml version="1.0"?>\n<!-- x -->\n<svg viewBox="0 0 1 1"/>', /SVG/);
  unsupported('PDF', '%PDF-1.7\n', /PDF/);
  unsupported('Photoshop', '8BPS\0\x01' + '\0'.repeat(40), /PSD/);
  unsupported('BMP', 'BM' + '\0'.repeat(60), /BMP/);
  unsupported('JPEG XL', '\xff\x0a' + '\0'.repeat(20), /JXL/);
  refuses('the raw pixels of libvips', bytes('\x08\xf2\xa6\xb6' + '\0'.repeat(100)), 'not_an_image', /no known type/);
});

describe('AVIF under the general brand of HEIF', () => {
  it('is read', async () => {
    const file = await picture({ format: 'avif' });
    file.write('mif1', 8, 'latin1');
    await writeFile(join(dir, 'mif1'), file);
    const { source } = await makeVariants(join(dir, 'mif1'), [{ name: 'thumb', width: 400 }], {
      signal: new AbortController().signal,
      memory,
    });
    assert.equal(source.format, 'avif');
  });
});

describe('A damaged picture is refused', () => {
  for (const format of ['jpeg', 'png', 'webp', 'gif', 'avif'] as const) {
    const whole = picture({ format, photo: true });
    const cutOff = new RegExp(`^The ${label[format]} is cut off: .* MEDIA_TRUNCATED=deliver`);
    refuses(`half a ${format}`, async () => truncated(await whole), 'media_truncated', cutOff);
    refuses(`the first 30 bytes of a ${format}`, async () => (await whole).subarray(0, 30), 'media_truncated', cutOff);
  }
  refuses(
    'a JPEG without its last bytes',
    async () => truncated(await picture({ photo: true }), 0.98),
    'media_truncated',
    /The JPEG/,
  );
  refuses(
    'an AVIF that says it is smaller than it is',
    () => avifBomb({ width: 8, height: 8 }),
    'image_corrupt',
    /The AVIF/,
  );
  refuses(
    'a PNG with garbage in it',
    async () => (await picture({ format: 'png', photo: true })).fill('?', 2000, 9000),
    'image_corrupt',
    /The PNG/,
  );
});

it('Pictures that fail at the same time are each told their own fault', async () => {
  const files = {
    media_truncated: truncated(await picture({ photo: true }), 0.98),
    image_corrupt: (await picture({ format: 'png', photo: true })).fill('?', 2000, 9000),
  };
  const roomy = createMemoryGate({ bytes: 4e9, slots: 32 });
  const failing = Array.from({ length: 200 }, async (_, index) => {
    const expected = index % 2 === 0 ? 'media_truncated' : 'image_corrupt';
    const path = join(dir, `failing-${index}`);
    await writeFile(path, files[expected]);
    const { signal } = new AbortController();
    const error: Error & { code?: string } = await makeVariants(path, [{ name: 'display', width: 1600 }], {
      signal,
      memory: roomy,
    }).then(
      () => new Error('was made'),
      (thrown) => thrown,
    );
    return { expected, code: error.code, message: error.message };
  });
  const wrong = (await Promise.all(failing)).filter(
    ({ expected, code, message }) => code !== expected || /Unknown error/.test(message),
  );
  assert.deepEqual(wrong, []);
});

describe('What would not fit in memory is refused before it is decoded', () => {
  const tooLarge = (what: string, file: () => Promise<Buffer>, message: RegExp) =>
    refuses(what, file, 'image_too_large', message);
  tooLarge(
    'an interlaced PNG of 100 megapixels',
    () => pngBomb({ width: 10_000, height: 10_000, interlaced: true }),
    /The PNG has 10000 x 10000 pixels and needs about [34]\d\d MB .*: MEDIA_MEMORY_MB is 256/,
  );
  tooLarge('an AVIF of 64 megapixels', () => avifBomb({ width: 8000, height: 8000 }), /needs about 1\d\d\d MB/);
  tooLarge('a PNG of 900 megapixels', () => pngBomb({ width: 30_000, height: 30_000 }), /at most 268402689 in all/);
  tooLarge('a PNG of long lines', () => pngBomb({ width: 1_000_000, height: 250 }), /needs about/);
});

describe('sharp itself', () => {
  it('opens no format but those that are accepted, whatever gets past the look at the first bytes', async () => {
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
    await assert.rejects(sharp(svg).toBuffer(), /unsupported image format/);
    const ppm = Buffer.from('P6\n1 1\n255\n\x01\x02\x03', 'latin1');
    await assert.rejects(sharp(ppm).toBuffer(), /unsupported image format/);
  });
});

it('A picture that takes too long is not damaged, whatever its decoder said before', () => {
  for (const words of ['', 'source: bad seek to 161725\n']) {
    const error = new Error(`${words}timeout: 1% complete`);
    const { name, code } = judge(error, { format: 'avif', structure: { cut: false } }) as Error & { code: string };
    assert.deepEqual([name, code], ['RetryableError', 'image_timeout']);
  }
});

import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { suite, test } from 'node:test';
import { namesOthers, withAddresses } from '../../../worker/media/outputs/naming.ts';

// Files that name others, with addresses in place of the names; that players read them is seen in
// media-transcode-private.test.ts.

const address = async (name: string) => `https://s3/${name}?a=1&b=$&`;

suite('a file that names others names them by their addresses', () => {
  const cases: [string, string, string][] = [
    [
      'master.m3u8',
      '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,NAME="Audio",URI="audio/playlist.m3u8"\n' +
        '#EXT-X-STREAM-INF:CODECS="a,b"\n360p/playlist.m3u8\n',
      '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,NAME="Audio",URI="https://s3/audio/playlist.m3u8?a=1&b=$&"\n#EXT-X-STREAM-INF:CODECS="a,b"\nhttps://s3/360p/playlist.m3u8?a=1&b=$&\n',
    ],
    [
      '360p/playlist.m3u8',
      '#EXTM3U\n#EXT-X-MAP:URI="init_0.mp4"\n#EXTINF:4.0,\n00000.m4s\n#EXTINF:4.0,\n00001.m4s\n#EXT-X-ENDLIST\n',
      '#EXTM3U\n#EXT-X-MAP:URI="https://s3/360p/init_0.mp4?a=1&b=$&"\n#EXTINF:4.0,\nhttps://s3/360p/00000.m4s?a=1&b=$&\n#EXTINF:4.0,\nhttps://s3/360p/00001.m4s?a=1&b=$&\n#EXT-X-ENDLIST\n',
    ],
    [
      'manifest.mpd',
      '<Representation id="360p"><Initialization sourceURL="360p/init_0.mp4"/><SegmentURL media="360p/00000.m4s"/>',
      '<Representation id="360p"><Initialization sourceURL="https://s3/360p/init_0.mp4?a=1&amp;b=$&amp;"/><SegmentURL media="https://s3/360p/00000.m4s?a=1&amp;b=$&amp;"/>',
    ],
    [
      'storyboard.vtt',
      'WEBVTT\n\n00:00.000 --> 00:02.000\nstoryboard.jpg#xywh=0,0,160,90\n\n' +
        '00:02.000 --> 00:04.000\nstoryboard.jpg#xywh=160,0,160,90\n',
      'WEBVTT\n\n00:00.000 --> 00:02.000\nhttps://s3/storyboard.jpg?a=1&b=$&#xywh=0,0,160,90\n\n00:02.000 --> 00:04.000\nhttps://s3/storyboard.jpg?a=1&b=$&#xywh=160,0,160,90\n',
    ],
  ];
  for (const [name, text, expected] of cases)
    test(name, async () => {
      assert.ok(namesOthers(name));
      assert.equal(await withAddresses(name, text, address), expected);
    });

  test('no other does', () => {
    for (const name of ['video.mp4', '360p/00000.m4s', 'storyboard.jpg', 'thumbnail-0.webp'])
      assert.equal(namesOthers(name), false, name);
  });
});

test('a long playlist does not keep the process from its other work', async () => {
  const names = Array.from({ length: 100 }, (_, n) => `${n}.m4s`);
  let turns = 0;
  let done = false;
  const others = async () => {
    for (; !done; turns++) await setImmediate();
  };
  const working = others();
  await withAddresses('playlist.m3u8', names.join('\n'), address);
  done = true;
  await working;
  assert.ok(turns >= 100, `${turns}`);
});

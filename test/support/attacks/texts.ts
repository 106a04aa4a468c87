import { join } from 'node:path';
import { canary, type Files } from './materials.ts';

/** Texts that name other files, on this machine and elsewhere. */
export function playlists(secrets: string, web: string): Files {
  const target = (name: string) => join(secrets, name);
  const concat = (...lines: string[]) => `ffconcat version 1.0\n${lines.map((line) => `file ${line}\n`).join('')}`;
  const hls = (...lines: string[]) =>
    `#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n${lines.join('\n')}\n#EXT-X-ENDLIST\n`;
  const segment = (address: string) => `#EXTINF:1,\n${address}`;
  const dash = (address: string) =>
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S">' +
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000">' +
    `<BaseURL>${address}</BaseURL></Representation></AdaptationSet></Period></MPD>`;
  return {
    'concat of a neighbour': concat('beside.ts'),
    'concat of a path': concat(target('canary.ts')),
    'concat of an address': concat(`${web}/a.ts`),
    'concat of a text': concat('beside.txt'),
    'hls of a neighbour': hls(segment('beside.ts')),
    'hls of a path': hls(segment(target('canary.ts'))),
    'hls of a file address': hls(segment(`file://${target('canary.ts')}`)),
    'hls of an address': hls(segment(`${web}/a.ts`)),
    'hls of text and video together': hls(segment(`concat:${target('canary.txt')}|${target('canary.ts')}`)),
    'hls of a part of a file': hls(segment(`subfile,,start,0,end,1000,,:${target('canary.txt')}`)),
    'hls with a key elsewhere': hls(`#EXT-X-KEY:METHOD=AES-128,URI="${web}/key"`, segment('beside.ts')),
    'hls with a beginning elsewhere': hls(`#EXT-X-MAP:URI="${target('canary.mp4')}"`, segment('beside.ts')),
    'hls of a playlist': hls(segment(target('nested.m3u8'))),
    'master playlist':
      `#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\n${target('nested.m3u8')}\n` +
      `#EXT-X-STREAM-INF:BANDWIDTH=2000\n${web}/b.m3u8\n`,
    'dash of a path': dash(target('canary.mp4')),
    'dash of a file address': dash(`file://${target('canary.mp4')}`),
    'dash of an address': dash(`${web}/a.mp4`),
    'smooth streaming':
      '<?xml version="1.0"?><SmoothStreamingMedia MajorVersion="2">' +
      `<StreamIndex Url="${web}/a"/></SmoothStreamingMedia>`,
  };
}

/** A call to listen to, or to come to, somebody else. */
export const sdp = (port: number) =>
  'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n' +
  `m=video ${port} RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:rtsp://127.0.0.1:${port}/x\n`;

/** Texts that are, to somebody, something to carry out or to draw. */
export function texts(secrets: string, port: number): Files {
  return {
    'svg.svg': `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="64" height="64"><image xlink:href="file://${secrets}/canary.png" width="64" height="64"/><image xlink:href="http://127.0.0.1:${port}/a.png" width="9" height="9"/><text y="20">x</text></svg>`,
    'xml with an entity': `<?xml version="1.0"?>
      <!DOCTYPE x [<!ENTITY a SYSTEM "file://${secrets}/canary.txt">]><MPD>&a;</MPD>`,
    'metadata of ffmpeg': `;FFMETADATA1\ntitle=${canary}\n`,
    subtitles: `1\n00:00:00,000 --> 00:00:10,000\n${canary}\n`,
    webvtt: `WEBVTT\n\n00:00.000 --> 00:10.000\n${canary}\n`,
    'a page': `<!doctype html><script>fetch('http://127.0.0.1:${port}')</script>`,
    'a text': `\u001b[31m${canary}\r\n`.repeat(50),
    'a script': `#!/bin/sh\ncurl http://127.0.0.1:${port}\n`,
    'a filter graph': `movie=${secrets}/canary.ts`,
  };
}

import { bandwidthOf, type PictureTrack, type Segment, type Track } from './hls.ts';

/**
 * An MPD over the segments that the HLS playlists name. ISO/IEC 23009-1, live profile, which allows exact times of all
 * segments also on demand. https://dashif.org/docs/DASH-IF-IOP-v4.3.pdf
 * @param listed names each segment, which that profile does not allow, instead of a pattern for all
 */
export function dashManifest(pictures: readonly PictureTrack[], sound: Track | undefined, listed = false): string {
  const tracks = [...pictures, ...(sound ? [sound] : [])];
  const seconds = Math.max(...tracks.map(({ segments }) => lengthOf(segments)));
  const longest = Math.max(...tracks.flatMap(({ segments }) => segments.map((segment) => segment.seconds)));
  const profile = `urn:mpeg:dash:profile:${listed ? 'full' : 'isoff-live'}:2011`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="${profile}" type="static"` +
      ` mediaPresentationDuration="${duration(seconds)}" maxSegmentDuration="${duration(longest)}"` +
      ` minBufferTime="${duration(longest)}">`,
    '  <Period id="0" start="PT0S">',
    '    <AdaptationSet id="0" contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1">',
    ...pictures.flatMap(({ width, height, rate, ...track }) =>
      representation(track, listed, `width="${width}" height="${height}" frameRate="${fraction(rate)}" sar="1:1"`),
    ),
    '    </AdaptationSet>',
    ...(sound ? soundSet(sound, listed) : []),
    '  </Period>',
    '</MPD>',
    '',
  ].join('\n');
}

const fraction = ({ above, below }: PictureTrack['rate']) => (below === 1 ? `${above}` : `${above}/${below}`);

function soundSet(sound: Track, listed: boolean): string[] {
  return [
    '    <AdaptationSet id="1" contentType="audio" mimeType="audio/mp4" segmentAlignment="true" startWithSAP="1">',
    ...representation(sound, listed, `audioSamplingRate="${sound.timescale}"`, [
      '<AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="2"/>',
    ]),
    '    </AdaptationSet>',
  ];
}

function representation(track: Track, listed: boolean, attributes: string, children: string[] = []): string[] {
  const { name, codec, segments } = track;
  const lines = [...children, ...(listed ? segmentList(track) : segmentTemplate(track))];
  return [
    `      <Representation id="${name}" codecs="${codec}" bandwidth="${bandwidthOf(segments).peak}" ${attributes}>`,
    ...lines.map((line) => `        ${line}`),
    '      </Representation>',
  ];
}

function segmentTemplate({ name, init, timescale, segments }: Track): string[] {
  const media = segments[0]!.file.replace(/^\d+/, (digits) => `$Number%0${digits.length}d$`);
  return [
    `<SegmentTemplate timescale="${timescale}" initialization="${name}/${init}"` +
      ` media="${name}/${media}" startNumber="0">`,
    ...segmentTimeline(segments, timescale),
    '</SegmentTemplate>',
  ];
}

function segmentList({ name, init, timescale, segments }: Track): string[] {
  return [
    `<SegmentList timescale="${timescale}">`,
    `  <Initialization sourceURL="${name}/${init}"/>`,
    ...segmentTimeline(segments, timescale),
    ...segments.map(({ file }) => `  <SegmentURL media="${name}/${file}"/>`),
    '</SegmentList>',
  ];
}

const segmentTimeline = (segments: readonly Segment[], timescale: number) => [
  '  <SegmentTimeline>',
  ...timeline(segments, timescale).map((line) => `    ${line}`),
  '  </SegmentTimeline>',
];

/**
 * A line for each run of segments of one length. Ticks are whole numbers: the playlist's six decimals identify each.
 */
export function timeline(segments: readonly Segment[], timescale: number): string[] {
  const runs: { d: number; r: number }[] = [];
  for (const { seconds } of segments) {
    const d = Math.round(seconds * timescale);
    const last = runs.at(-1);
    if (last?.d === d) last.r++;
    else runs.push({ d, r: 0 });
  }
  return runs.map(({ d, r }, n) => `<S${n === 0 ? ' t="0"' : ''} d="${d}"${r > 0 ? ` r="${r}"` : ''}/>`);
}

const lengthOf = (segments: readonly Segment[]) => segments.reduce((sum, { seconds }) => sum + seconds, 0);
const duration = (seconds: number) => `PT${Number(seconds.toFixed(3))}S`;

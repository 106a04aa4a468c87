/** Settings of video and sound that cost a test the least. */
export const quickSettings = {
  videoBitrate: undefined,
  audioBitrate: 64_000,
  maxSeconds: 100,
  preset: 'ultrafast',
  truncated: 'refuse',
} as const;

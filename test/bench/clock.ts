/** Milliseconds on a clock that all processes of this machine share (CLOCK_MONOTONIC on Linux). */
export const now = () => Number(process.hrtime.bigint()) / 1e6;

/** How much the suites measure. */
export type Sizes = {
  /** Interleaved runs, whose median counts. */
  runs: number;
  /** Jobs of one measured run of throughput; other counts follow from it. */
  jobs: number;
  /** Rows that wait in a table that has grown; its archive has ten times as many. */
  rows: number;
  /** How long a steady load lasts. */
  seconds: number;
  /** How often the tables fill and empty while their size is watched. */
  rounds: number;
  /** Workers that are killed, one after another. */
  kills: number;
  /**
   * How long each of those works before it is killed. A job that is lost soon after it started waits for its backoff.
   */
  settleSeconds: number;
  /** How often each fault befalls the way to Postgres, and how long it lasts. */
  faults: number;
  faultSeconds: number;
  /** How long a worker without jobs is watched. */
  idleSeconds: number;
  /** Processes that idle while another queue is busy. */
  runners: number;
  /** Pictures that a queue publishes; originals of each kind of picture. */
  pictures: number;
  /** Length of videos; voice messages are ten times as long. */
  clipSeconds: number;
  /** A suite that has not ended after so many minutes has failed. */
  deadline: number;
};

/** What figures are taken from. */
export const full: Sizes = {
  runs: 3,
  jobs: 40_000,
  rows: 1_000_000,
  seconds: 15,
  rounds: 10,
  kills: 10,
  settleSeconds: 8,
  faults: 10,
  faultSeconds: 5,
  idleSeconds: 120,
  runners: 10,
  pictures: 24,
  clipSeconds: 16,
  deadline: 60,
};

/** Shows that each suite runs to its end. Its figures mean nothing. */
export const smoke: Sizes = {
  runs: 1,
  jobs: 400,
  rows: 2_000,
  seconds: 1,
  rounds: 2,
  kills: 1,
  settleSeconds: 1,
  faults: 1,
  faultSeconds: 1,
  idleSeconds: 1,
  runners: 2,
  pictures: 4,
  clipSeconds: 2,
  deadline: 5,
};

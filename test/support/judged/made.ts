/** A made picture, and how to know what it shows. */
export type Made = {
  file: Buffer;
  /** What the judge is shown in its place where no browser shows its format: the same scene in another one. */
  twin?: Buffer;
};

export type Case = {
  name: string;
  make(): Promise<Made>;
  /** The most that it may differ from what the judge sees: of all samples in the mean, of 255. */
  within?: number;
};

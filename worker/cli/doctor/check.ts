export type Check = {
  name: string;
  state: 'ok' | 'warn' | 'fail';
  detail: string;
  /** How to mend it. */
  mend?: string;
};

export const ok = (name: string, detail: string): Check => ({ name, state: 'ok', detail });
export const warn = (name: string, detail: string, mend: string): Check => ({ name, state: 'warn', detail, mend });
export const fail = (name: string, detail: string, mend?: string): Check => ({
  name,
  state: 'fail',
  detail,
  ...(mend ? { mend } : {}),
});

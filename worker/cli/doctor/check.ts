export type Check = {
  name: string;
  state: 'ok' | 'warn' | 'fail';
  detail: string;
  /** How to fix it. */
  fix?: string;
};

export const ok = (name: string, detail: string): Check => ({ name, state: 'ok', detail });
export const warn = (name: string, detail: string, fix: string): Check => ({ name, state: 'warn', detail, fix });
export const fail = (name: string, detail: string, fix?: string): Check => ({
  name,
  state: 'fail',
  detail,
  ...(fix ? { fix } : {}),
});

/** Whom a child process runs as; absent for ourselves. Node also drops the supplementary groups. */
export type User = { uid: number; gid: number };

/** For every child of ours: nothing of the caller's PG*, LC_* or LD_* variables, and no working directory it may not enter. */
export function childOptions(user: User | undefined) {
  return {
    cwd: '/',
    env: { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C', TZ: 'UTC' } as NodeJS.ProcessEnv,
    ...user,
  };
}

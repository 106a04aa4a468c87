/** The user that a child process runs as; undefined for our own. Node also drops the supplementary groups. */
export type User = { uid: number; gid: number };

/**
 * For all our children: none of the caller's PG*, LC_* or LD_* variables, and no working directory that they may not
 * enter.
 */
export function childOptions(user: User | undefined) {
  return {
    cwd: '/',
    env: { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C', TZ: 'UTC' } as NodeJS.ProcessEnv,
    ...user,
  };
}

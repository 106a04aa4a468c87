import { userInfo } from 'node:os';

/** Who gives the command, for others to read. In a container, a user may have a number and no name. */
export function person(): string {
  try {
    return userInfo().username;
  } catch {
    return `user ${process.getuid?.()}`;
  }
}

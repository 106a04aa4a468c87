import { direct, changesSessions, pooled, type Session } from '../../base/db/pooler.ts';
import { fail, ok, warn, type Check } from './check.ts';

const name = 'connection';

/** Whether our connections have server sessions of their own. */
export async function checkDirect(a: Session, b: Session, url: string): Promise<Check> {
  if (await changesSessions(a, b)) return fail(name, pooled, direct);
  if (URL.parse(url)?.port === '6543')
    return warn(name, 'direct, as far as can be seen, but port 6543 is usually a transaction pooler', direct);
  return ok(name, 'direct, sessions are our own');
}

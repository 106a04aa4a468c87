import { Argument, Command } from 'commander';
import { codeOf, messageOf, UsageError } from '../base/errors.ts';
import { cancelPost, listPosts, resolvePost, showPost, type ListedPost } from '../jobs/social/post/operate.ts';
import { withDatabase } from './database.ts';
import { Failed } from './faults.ts';
import { example, integer, json } from './options.ts';
import { note, plain, print, printJson, relative, table, type Column } from './output.ts';
import { person } from './person.ts';

type Json = { json?: true };

export const post = example(new Command('post'), 'rowmill post list').description(
  'posts on social platforms: list them, show their way, cancel, say what became of an unconfirmed one',
);

const id = integer(1, Number.MAX_SAFE_INTEGER);
const postId = () => new Argument('<id>', 'the id of a post').argParser(id);

example(post.command('list'), 'rowmill post list --status unconfirmed')
  .description('list them, the newest first')
  .option('--status <status>', 'only those with this status')
  .option('--account <id>', 'only those of this account', id)
  .option('--limit <n>', 'at most so many', integer(1, 100_000), 20)
  .addOption(json())
  .action(async ({ json: asJson, ...filter }: Json & { status?: string; account?: number; limit: number }) => {
    const posts = await withDatabase((db) => listPosts(db, filter));
    if (asJson) return printJson({ posts });
    if (posts.length === 0) return note('No posts');
    for (const line of table(posts, columns)) print(line);
  });

example(post.command('show'), 'rowmill post show 7')
  .description('print a post, its way, and what was tried')
  .addArgument(postId())
  .addOption(json())
  .action(async (wanted: number, options: Json) => {
    const found = await withDatabase((db) => showPost(db, wanted));
    if (!found) throw new Failed(`There is no post ${wanted}`);
    if (options.json) return printJson(found);
    const { platform, account_id, status, url, error, scheduled_at, steps, attempts } = found;
    print(
      `post ${wanted} on ${platform ?? '-'}, account ${account_id ?? '-'}, due ${relative(scheduled_at)}: ${status}`,
    );
    if (url) print(`url: ${plain(url)}`);
    if (error) print(`error: ${plain(error)}`);
    for (const { at, status: was, step, reason } of steps)
      print(`  ${at.toISOString()}  ${was} ${step}${reason ? `: ${plain(reason)}` : ''}`);
    for (const each of attempts)
      print(
        `  submit ${each.id}: ${each.status}, ${relative(each.sent_at)}${each.error ? `: ${plain(each.error)}` : ''}`,
      );
    if (status === 'unconfirmed')
      note(`Look at the account. Then: rowmill post resolve ${wanted} --published URL, or --not-published`);
  });

example(post.command('resolve'), 'rowmill post resolve 7 --published https://www.tiktok.com/@shop/video/1')
  .description('say what became of an unconfirmed post; one that was not published is published now')
  .addArgument(postId())
  .option('--published <url>', 'it was published, and is there')
  .option('--not-published', 'it was not: publish it')
  .addOption(json())
  .action(async (wanted: number, options: Json & { published?: string; notPublished?: true }) => {
    const { published, notPublished } = options;
    if ((published === undefined) === (notPublished === undefined))
      throw new UsageError('resolve needs either --published URL or --not-published');
    if (published !== undefined && !/^https?:\/\/\S+$/.test(published))
      throw new UsageError('--published must be the address of the post');
    const done = await withDatabase((db) => resolvePost(db, wanted, published, person()));
    if (!done) throw new Failed(`There is no unconfirmed post ${wanted}`);
    if (options.json) printJson({ id: wanted, published: published ?? null });
    else print(published ? `post ${wanted} is published` : `post ${wanted} is published again`);
  });

example(post.command('cancel'), 'rowmill post cancel 7')
  .description('cancel a post that has not been submitted')
  .addArgument(postId())
  .addOption(json())
  .action(async (wanted: number, options: Json) => {
    const done = await withDatabase((db) => cancelPost(db, wanted)).catch((error: unknown) => {
      throw codeOf(error) === '55000' ? new Failed(messageOf(error)) : error;
    });
    if (!done) throw new Failed(`There is no post ${wanted}, or it is cancelled`);
    if (options.json) printJson({ id: wanted, cancelled: true });
    else print(`post ${wanted} is cancelled`);
  });

const columns: Column<ListedPost>[] = [
  { title: 'ID', value: (row) => row.id, align: 'right' },
  { title: 'PLATFORM', value: ({ platform }) => platform },
  { title: 'STATUS', value: ({ status, step }) => (status === 'publishing' ? `publishing: ${step}` : status) },
  { title: 'DUE', value: ({ scheduled_at }) => relative(scheduled_at) },
  { title: 'TITLE', value: ({ title }) => title },
  { title: 'WHAT', value: ({ url, reason, error_code }) => url ?? error_code ?? reason },
];

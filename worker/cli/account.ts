import { readFile } from 'node:fs/promises';
import { Argument, Command } from 'commander';
import { z } from 'zod';
import { loadConfig } from '../base/config/config.ts';
import type { Db } from '../base/db/db.ts';
import { createLog } from '../base/log.ts';
import { codeOf, messageOf, UsageError } from '../base/errors.ts';
import {
  listAccounts,
  putAccount,
  removeAccount,
  renewNow,
  type ListedAccount,
} from '../jobs/social/account/account.ts';
import { beginConnect } from '../jobs/social/account/connect.ts';
import { createSocial, platforms, type Platform } from '../providers/social/social.ts';
import { withDatabase } from './database.ts';
import { Failed } from './faults.ts';
import { example, integer, json } from './options.ts';
import { note, print, printJson, relative, table, type Column } from './output.ts';

type Json = { json?: true };

export const account = example(new Command('account'), 'rowmill account list').description(
  'accounts on social platforms: connect them, list them, renew their tokens, remove them',
);

const platform = () => new Argument('<platform>', 'the platform').choices(platforms);
const accountId = () => new Argument('<id>', 'the id of an account').argParser(integer(1, Number.MAX_SAFE_INTEGER));

const tokens = z.object({
  access_token: z.string().min(1),
  refresh_token: z.string().min(1).optional(),
  expires_in: z.coerce.number().positive().optional(),
  scope: z.string().optional(),
});

example(account.command('connect'), 'rowmill account connect youtube --account 3')
  .description('print a link by which the owner of an account connects it, once, within an hour')
  .addArgument(platform())
  .option('--account <id>', 'an account that is connected again: by no other', integer(1, Number.MAX_SAFE_INTEGER))
  .addOption(json())
  .action(async (name: Platform, options: Json & { account?: number }) => {
    const link = await withDatabase((db) => beginConnect(portsOf(db), name, options.account));
    if (options.json) return printJson(link);
    print(link.url);
    note('Let the owner of the account open it. Whoever has it can connect an account, once, within an hour.');
  });

example(account.command('add'), 'rowmill account add youtube UC4711 --tokens tokens.json')
  .description('store the tokens of an account, sealed; one that is there already gets the new ones')
  .addArgument(platform())
  .argument('<external-id>', 'open_id of TikTok, channel of YouTube, user id of Instagram, page id of Facebook')
  .requiredOption('--tokens <file>', 'JSON with access_token, refresh_token and expires_in, as the platform gave it')
  .option('--name <name>', 'for people')
  .addOption(json())
  .action(async (name: Platform, external_id: string, options: Json & { tokens: string; name?: string }) => {
    const { access_token, refresh_token, expires_in, scope } = await readTokens(options.tokens);
    const connected = { external_id, name: options.name, access_token, refresh_token };
    const rest = { lives: expires_in, scopes: scope?.split(/[ ,]+/) };
    const id = await withDatabase((db) => putAccount({ db, config: loadConfig() }, name, { ...connected, ...rest }));
    if (options.json) printJson({ id });
    else print(`account ${id} of ${name}`);
  });

/** A file, because arguments are in the history of the shell, and in the list of processes. */
async function readTokens(path: string): Promise<z.output<typeof tokens>> {
  try {
    return tokens.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    const what =
      error instanceof SyntaxError ? 'it is no JSON' : (codeOf(error) ?? z.prettifyError(error as z.ZodError));
    throw new UsageError(`--tokens ${path}: ${what}`, { cause: error });
  }
}

example(account.command('list'), 'rowmill account list')
  .description('list the accounts, never their tokens')
  .addOption(json())
  .action(async (options: Json) => {
    const accounts = await withDatabase(listAccounts);
    if (options.json) return printJson({ accounts });
    if (accounts.length === 0) return note('No accounts: rowmill account connect PLATFORM');
    for (const line of table(accounts, columns)) print(line);
    for (const { id, status, status_reason } of accounts)
      if (status === 'needs_reconnect') note(`account ${id} must be connected again: ${status_reason}`);
  });

example(account.command('refresh'), 'rowmill account refresh 3')
  .description('renew the tokens of an account now')
  .addArgument(accountId())
  .addOption(json())
  .action(async (id: number, options: Json) => {
    await withDatabase(async (db) => {
      await renewNow(portsOf(db), id, new AbortController().signal).catch((error: unknown) => {
        throw new Failed(messageOf(error));
      });
    });
    if (options.json) printJson({ id, renewed: true });
    else print(`account ${id} has new tokens`);
  });

example(account.command('remove'), 'rowmill account remove 3')
  .description('delete an account and its tokens; its posts stay')
  .addArgument(accountId())
  .addOption(json())
  .action(async (id: number, options: Json) => {
    const removed = await withDatabase((db) => removeAccount(db, id));
    if (!removed) throw new Failed(`There is no account ${id}, or posts of it wait: rowmill post list --account ${id}`);
    if (options.json) printJson({ id, removed });
    else print(`account ${id} was removed`);
  });

function portsOf(db: Db) {
  const config = loadConfig();
  return { db, config, social: createSocial(config), log: createLog({ ...config, logLevel: 'silent' }) };
}

const columns: Column<ListedAccount>[] = [
  { title: 'ID', value: ({ id }) => id, align: 'right' },
  { title: 'PLATFORM', value: ({ platform: of }) => of },
  { title: 'NAME', value: ({ name, external_id }) => name ?? external_id },
  {
    title: 'STATUS',
    value: ({ status }) => status,
    style: ({ status }) => (status === 'active' ? 'green' : 'red'),
  },
  { title: 'EXPIRES', value: ({ access_expires_at }) => (access_expires_at ? relative(access_expires_at) : 'never') },
  { title: 'RENEWED', value: ({ refreshed_at }) => relative(refreshed_at) },
  { title: 'WAITING', value: ({ waiting }) => waiting, align: 'right' },
];

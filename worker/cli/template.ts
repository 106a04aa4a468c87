import { Argument, Command, Option } from 'commander';
import { loadConfig } from '../base/config/config.ts';
import type { Queryable } from '../base/db/sql.ts';
import { PermanentError, UsageError } from '../base/errors.ts';
import { listTemplates, render, type ListedTemplate } from '../jobs/notification/delivery/render.ts';
import { hasEmbedded, withDatabase } from './database.ts';
import { example, json, payloadOf } from './options.ts';
import { print, printJson, table, type Column } from './output.ts';

export const template = example(new Command('template'), 'rowmill template list').description(
  'the templates of notifications: list them, see what they make of some data',
);

/** Without a database, there are the templates in the box. */
async function withTemplates<T>(work: (db: Queryable | undefined) => Promise<T>): Promise<T> {
  const config = loadConfig();
  return config.databaseUrl || (await hasEmbedded(config)) ? withDatabase(work) : work(undefined);
}

example(template.command('list'), 'rowmill template list')
  .description('list the templates in the box, and the rows of notification_templates, which go before them')
  .addOption(json())
  .action(async (options: { json?: true }) => {
    const templates = await withTemplates(listTemplates);
    if (options.json) return printJson({ templates });
    for (const line of table(templates, columns)) print(line);
  });

type PreviewOptions = { data?: Record<string, unknown>; channel: string; locale?: string; text?: true; json?: true };

example(template.command('preview'), `rowmill template preview welcome --data '{"name": "Ada"}' > welcome.html`)
  .description('print what a template makes of some data: the HTML, or the text of a channel that has none')
  .addArgument(new Argument('<id>', 'the template'))
  .addOption(new Option('--data <json>', 'the variables').argParser(payloadOf))
  .addOption(new Option('--channel <channel>', 'for which channel').default('email'))
  .option('--locale <locale>', 'the language, such as pt-BR')
  .option('--text', 'the text that goes with the HTML')
  .addOption(json())
  .action(async (id: string, { data, channel, locale, ...options }: PreviewOptions) => {
    if (data !== undefined && (typeof data !== 'object' || data === null || Array.isArray(data)))
      throw new UsageError('--data must be a JSON object: the variables by name');
    const notice = { template_id: id, variables: data ?? {}, title: undefined, body: undefined, locale };
    const words = await withTemplates((db) =>
      render(db, channel, notice, loadConfig().notification.locale).catch((error: unknown) => {
        throw error instanceof PermanentError ? new UsageError(error.message) : error;
      }),
    );
    if (options.json) return printJson(words);
    print(options.text ? words.text : (words.html ?? words.text));
  });

const columns: Column<ListedTemplate>[] = [
  { title: 'ID', value: ({ id }) => id },
  { title: 'CHANNEL', value: ({ channel }) => channel },
  { title: 'LOCALE', value: ({ locale }) => locale },
  { title: 'FROM', value: ({ from }) => from },
  { title: 'VARIABLES', value: ({ variables }) => variables },
];

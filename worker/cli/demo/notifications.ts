import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { transaction } from '../../base/db/db.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { count, paint, print, printJson, table, type Column } from '../output.ts';
import { samples, type Sample } from './messages.ts';
import { htmlOf, startSmtp, subjectOf, type Mail } from './smtp.ts';
import { onStage, tellCounts, tellFailure, tellStatement, tellWhatToTry, type Stage } from './stage.ts';
import { startVendors, type Message } from './vendors.ts';
import type { Shown } from './view.ts';

const sql = loadStatements(import.meta.dirname, 'notifications.sql', [
  'add_devices',
  'set_endpoint',
  'add_job',
  'repair',
  'try_1',
  'try_2',
  'try_3',
]);

/** A job of a notification. */
export type Notice = Shown & Omit<Sample, 'broken'> & { result?: { repeated?: true } | null };

/**
 * Sends a notification on each channel, to stand-ins on loopback. One fails and is repaired, one is added twice.
 * @returns the exit code: 0 if everything came out as expected
 */
export async function demoNotifications({ json }: { json: boolean }): Promise<number> {
  return onStage({ queues: ['notification'], title: 'CHANNEL', json }, async (stage) => {
    const { db, config, open, step } = stage;
    const arrived: Message[] = [];
    const mails: Mail[] = [];
    const smtp = await startSmtp((mail) => {
      mails.push(mail);
      arrived.push({ channel: 'email', to: mail.to, words: subjectOf(mail) });
    });
    open.defer(smtp.close);
    const vendors = await startVendors((message) => arrived.push(message));
    open.defer(vendors.close);

    await step(`Starting an SMTP server at ${smtp.url}, stand-ins for all others at ${vendors.url}, and a worker`);
    await stage.startWorker({ ...vendors.env, SMTP_URL: smtp.url, EMAIL_FROM: 'Demo <demo@shop.example>' });

    const run = new Date().toISOString();
    const [first, ...others] = samples;
    const rows = [{ ...first!, payload: { message_id: `demo/${run}`, ...first!.payload } }, ...others];
    await step(`Inserting ${count(rows.length, 'row')} into notification_jobs, in one transaction`);
    const jobs = await transaction(db, async (tx) => {
      await query(tx, sql.add_devices);
      await query(tx, sql.set_endpoint, { url: vendors.hook });
      const added: Notice[] = [];
      for (const [n, row] of rows.entries()) added.push(await insert(tx, row, `demo/${run}/${n}`));
      return added;
    });
    await stage.watch(jobs);
    const isAsItShould = jobs.every(({ status, broken }) => status === (broken ? 'failed' : 'completed'));
    if (!json) tellCounts(jobs);
    if (!json) for (const job of jobs) tellFailure(job);

    for (const job of jobs.filter(({ status, broken }) => broken && status === 'failed'))
      await repair(stage, job, json);

    await step('\nInserting the first row once more, with the same message_id:');
    const again = await insert(db, { ...rows[0]!, about: 'with the same message_id' }, `demo/${run}/again`);
    await stage.watch([again]);

    const all = [...jobs, again];
    const files = await writeMails(mails, join(config.dataDir, 'demo'));
    const ok =
      isAsItShould &&
      all.every(({ status }) => status === 'completed') &&
      again.result?.repeated === true &&
      arrived.length === rows.reduce((sum, { reaches }) => sum + reaches, 0);
    if (json) printJson({ ok, jobs: all, arrived, files });
    else await tell(stage, again, { arrived, files, ok });
    return ok ? 0 : 1;
  });
}

export async function insert(db: Queryable, row: Sample, dedupe_key: string): Promise<Notice> {
  const { kind, payload } = row;
  const [job] = await query<{ id: number }>(db, sql.add_job, { kind, payload: JSON.stringify(payload), dedupe_key });
  return { ...row, name: kind, broken: row.broken === true, id: job!.id, status: 'pending' };
}

/** As a person does it: correct the payload, and let the row run again. */
export async function repair(stage: Stage, job: Notice, json: boolean): Promise<void> {
  const { id } = job;
  await stage.step('\nRepairing it:\n');
  if (!json) tellStatement(sql.repair.text.replace('$1', String(id)));
  await query(stage.db, sql.repair, { id });
  Object.assign(job, { status: 'pending', completed_at: null, about: 'with its title' });
  if (!json) print();
  await stage.watch([job]);
}

/** Their HTML, for a browser. */
async function writeMails(mails: Mail[], dir: string): Promise<string[]> {
  await mkdir(dir, { recursive: true });
  return Promise.all(
    mails.map(async (mail, n) => {
      const path = join(dir, `email-${n + 1}.html`);
      await writeFile(path, htmlOf(mail) ?? '', { mode: 0o600 });
      return relative('', path);
    }),
  );
}

type Told = { arrived: Message[]; files: string[]; ok: boolean };

async function tell(stage: Stage, again: Notice, { arrived, files, ok }: Told): Promise<void> {
  print();
  if (again.result?.repeated) print(`Job ${again.id} sent nothing, and its result says so: repeated.`);
  print(`The stand-ins took ${count(arrived.length, 'message')}:`);
  print();
  for (const line of table(arrived, columns)) print(`  ${line}`);
  print();
  print('The emails, for your browser:');
  for (const file of files) print(`  ${file}`);
  await tellWhatToTry(stage, [sql.try_1, sql.try_2, sql.try_3]);
  if (!ok) print(paint('red', 'Not all came out as it should.'));
}

const columns: Column<Message>[] = [
  { title: 'CHANNEL', value: ({ channel }) => channel },
  { title: 'TO', value: ({ to }) => to },
  { title: 'WORDS', value: ({ words }) => words },
];

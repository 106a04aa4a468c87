import { Command } from 'commander';
import type { FleetQueue, FleetStatus, FleetWorker } from '../queue/client/operate.ts';
import { readFleet } from '../queue/client/trouble.ts';
import { attention } from './attention.ts';
import { withDatabase } from './database.ts';
import { example, json } from './options.ts';
import { duration, paint, plain, print, printJson, relative, table, type Column } from './output.ts';

export const status = example(new Command('status'), 'rowmill status --json')
  .description('what each queue holds, which workers there are, and what needs attention')
  .addOption(json())
  .action(async (options: { json?: true }) => {
    const fleet = await withDatabase(readFleet);
    const all = attention(fleet);
    if (options.json) return printJson({ ...fleet, attention: all });

    const incidents = all.filter(({ name }) => name === 'incidents');
    const needs = all.filter(({ name }) => name !== 'incidents');
    for (const { what, fix } of incidents) {
      print(paint('red', plain(what)));
      print(`  ${fix}`);
      print();
    }

    for (const line of table(fleet.queues, queueColumns(fleet))) print(line);
    print();
    for (const line of table(fleet.workers, workerColumns(fleet))) print(line);
    if (fleet.workers.length === 0) print(paint('dim', 'none'));
    print();
    if (needs.length === 0 && incidents.length > 0) return;
    if (needs.length === 0) return print(paint('green', 'Nothing needs attention'));
    print('Needs attention');
    for (const { what, fix } of needs) {
      print(`  ${paint('yellow', plain(what))}`);
      print(`    ${fix}`);
    }
  });

function queueColumns({ lately_s }: FleetStatus): Column<FleetQueue>[] {
  const perMinute = (jobs: number) => Number(((jobs * 60) / lately_s).toFixed(1)).toLocaleString('en');
  const number = (value: number) => value.toLocaleString('en');
  return [
    { title: 'QUEUE', value: ({ queue }) => queue },
    { title: 'WAITING', value: ({ waiting }) => number(waiting), align: 'right' },
    { title: 'ACTIVE', value: ({ active }) => number(active), align: 'right' },
    { title: 'DELAYED', value: ({ delayed }) => number(delayed), align: 'right' },
    {
      title: 'FAILED',
      value: ({ failed }) => number(failed),
      align: 'right',
      style: ({ failed }) => (failed > 0 ? 'red' : undefined),
    },
    { title: 'COMPLETED', value: ({ completed }) => number(completed), align: 'right' },
    { title: 'DONE/MIN', value: ({ completed_lately }) => perMinute(completed_lately), align: 'right' },
    {
      title: 'OLDEST WAITS',
      value: ({ oldest_waiting_s: s }) => (s === null ? '' : duration(s)),
      align: 'right',
    },
    { title: '', value: ({ paused }) => (paused ? 'paused' : ''), style: () => 'yellow' },
  ];
}

const workerColumns = ({ workers }: FleetStatus): Column<FleetWorker>[] => [
  { title: 'WORKER', value: ({ id }) => id.slice(0, 8) },
  { title: 'HOST', value: ({ host }) => host },
  { title: 'PID', value: ({ pid }) => pid, align: 'right' },
  { title: 'VERSION', value: ({ version }) => version },
  { title: 'STARTED', value: ({ started_at }) => relative(started_at) },
  {
    title: 'HEARTBEAT',
    value: ({ alive, heartbeat_age_s }) => (alive ? `${duration(heartbeat_age_s)} ago` : 'lost'),
    style: ({ alive }) => (alive ? undefined : 'red'),
  },
  { title: 'QUEUES', value: ({ queues }) => queues.join(', ') },
  ...(workers.some(({ bridges }) => bridges.length > 0) ? [bridgesColumn] : []),
];

const bridgesColumn: Column<FleetWorker> = {
  title: 'BRIDGES',
  value: ({ bridges }) => bridges.map(({ bridge, connected }) => (connected ? bridge : `${bridge}: off`)).join(', '),
  style: ({ bridges }) => (bridges.every(({ connected }) => connected) ? undefined : 'red'),
};

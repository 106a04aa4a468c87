import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { surroundedBy } from '../../worker/base/surroundings.ts';
import { table, type Column } from '../../worker/cli/output.ts';

type Row = { id: number; job: string; when: string; error: string };
const columns: Column<Row>[] = [
  { title: 'ID', value: ({ id }) => id, align: 'right' },
  { title: 'JOB', value: ({ job }) => job },
  { title: 'WHEN', value: ({ when }) => when },
  { title: 'LAST ERROR', value: ({ error }) => error },
];
const linesOn = (terminal: number | undefined, rows: Row[]) => {
  const stdout = Object.assign(new PassThrough(), terminal ? { columns: terminal } : {});
  return surroundedBy({ env: {}, stdout, stderr: stdout }, () => table(rows, columns));
};

test('whatever is long in a table, it is no wider than the terminal, and what is short stays whole', () => {
  const rows = [
    {
      id: 123_456_789,
      job: `media.${'k'.repeat(100)}`,
      when: 'due 5 min ago',
      error: `unknown_kind: ${'x'.repeat(500)}`,
    },
    { id: 2, job: 'media.画像', when: '2 h ago', error: '' },
  ];
  for (const terminal of [60, 80, 200]) {
    const [head, ...lines] = linesOn(terminal, rows);
    for (const line of [head!, ...lines]) assert.ok(line.length < terminal, `${line.length} columns on ${terminal}`);
    assert.match(lines[0]!, /^123456789 {2}media\.k+… {2}due 5 min ago {2}unknown_kind: x*…$/);
    assert.match(lines[1]!, /^ {8}2 {2}media\.画像 +2 h ago$/);
  }
  assert.ok(linesOn(undefined, rows)[1]!.length > 600, 'a file has room');
});

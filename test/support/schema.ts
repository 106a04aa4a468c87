import { namesOf } from '../../worker/base/db/names.ts';
import { loadStatements, query, type Queryable } from '../../worker/base/db/sql.ts';

/**
 * The schema of a database as one SQL text, for people to read and to compare: what the migrations make, whatever way
 * they went there. Postgres 14 to 18 give the same text. It can be run too, and makes the same schema again.
 */
export async function describeSchema(db: Queryable): Promise<string> {
  const read = <Row extends Record<string, unknown>>(name: keyof typeof sql) => query<Row>(db, sql[name]);
  const [server] = await read<Server>('server');
  const tables = await read<Table>('tables');
  const columns = Map.groupBy(await read<Column>('columns'), (column) => column.table);
  const constraints = await read<Constraint>('constraints');
  const indexes = await read<Index>('indexes');
  const views = await read<View>('views');
  const policies = await read<Policy>('policies');

  const describe = (table: Table) =>
    describeTable(
      table,
      columns.get(table.name) ?? [],
      constraints.filter((constraint) => constraint.table === table.name && !constraint.foreign_key),
      indexes.filter((index) => index.table === table.name && !index.calls),
    );
  const foreignKeys = constraints.filter((constraint) => constraint.foreign_key);
  const triggers = Map.groupBy(
    await read<{ table: string; definition: string }>('triggers'),
    (trigger) => trigger.table,
  );
  return [
    opening,
    heading('Tables'),
    ...(await read<Sequence>('sequences')).map(describeSequence),
    ...tables.map(describe),
    foreignKeys
      .map((key) => `alter table ${key.table} add constraint ${key.name} ${lower(key.definition)};\n`)
      .join(''),
    policies.length > 0 ? policies.map(describePolicy).join('') : noPolicies,
    heading('Functions'),
    ...(await read<Func>('functions')).map((func) => describeFunction(func, server!)),
    indexes
      .filter(({ calls }) => calls)
      .map(describeIndex)
      .join(''),
    heading('Triggers'),
    ...triggers.values().map((list) => list.map(({ definition }) => describeTrigger(definition)).join('')),
    heading('Views'),
    ...views.map((view) => describeView(view, columns.get(view.name) ?? [], server!)),
  ].join('\n');
}

const heading = (title: string) => `\n-- ${title} ${'-'.repeat(116 - title.length)}\n`;

type Server = { version: number; schema: string };
type Sequence = { name: string; type: string; comment: string | null };
type Table = {
  name: string;
  parent: string | null;
  bound: string | null;
  partition_key: string | null;
  options: string | null;
  row_security: boolean;
  forced: boolean;
  unlogged: boolean;
  comment: string | null;
};
type Column = {
  table: string;
  name: string;
  type: string;
  required: boolean;
  default: string | null;
  comment: string | null;
  /** False where a partition has the column just as its parent has. */
  own: boolean;
};
type Constraint = { table: string; name: string; definition: string; foreign_key: boolean };
/** `calls` a function of ours. */
type Index = { table: string; definition: string; calls: boolean };
type Func = {
  name: string;
  arguments: string;
  result: string;
  language: string;
  definer: boolean;
  strict: boolean;
  settings: string[] | null;
  body: string;
  volatility: string | null;
  comment: string | null;
};
type View = { name: string; definition: string; options: string | null; comment: string | null };
type Policy = {
  name: string;
  table: string;
  permissive: string;
  roles: string[];
  command: string;
  using: string | null;
  with_check: string | null;
};

const sql = loadStatements(import.meta.dirname, 'schema.sql', [
  'server',
  'sequences',
  'tables',
  'columns',
  'constraints',
  'indexes',
  'functions',
  'triggers',
  'views',
  'policies',
]);

const opening = `-- The schema, for reading: what the files of migrations/ make of an empty database. The schema of the
-- tickets, which is graphile-worker's, is not included. To change the schema, add a migration and run
-- \`npm run schema\`, which writes this file. test/queue/install/schema.test.ts checks it.

set check_function_bodies = off;
`;
const noPolicies = '-- No policies: only the owner, and roles that bypass row level security, get in.\n';

function describeSequence({ name, type, comment }: Sequence): string {
  const as = type === 'bigint' ? '' : ` as ${type}`;
  return `create sequence ${name}${as};\n${commentOn('sequence', name, comment)}`;
}

function describeTable(table: Table, columns: Column[], constraints: Constraint[], indexes: Index[]): string {
  const { name, parent, row_security, forced, unlogged, comment } = table;
  const checks = constraints.map((constraint) => `constraint ${constraint.name} ${lower(constraint.definition)}`);
  const own = columns.filter((column) => column.own);
  const head = parent
    ? `create table ${name} partition of ${parent}` +
      `${inBrackets([...own.map(newDefault), ...checks]) || '\n '} ${lower(table.bound ?? '')}`
    : `create ${unlogged ? 'unlogged ' : ''}table ${name}${inBrackets([...alignColumns(own), ...checks])}`;
  const key = table.partition_key ? ` partition by ${lower(table.partition_key)}` : '';
  const options = table.options ? ` with (${table.options})` : '';
  return [
    `${head}${key}${options};\n`,
    row_security ? `alter table ${name} enable row level security;\n` : '',
    forced ? `alter table ${name} force row level security;\n` : '',
    ...indexes.map(describeIndex),
    commentOn('table', name, comment),
    ...columns.map((column) => commentOn('column', `${name}.${column.name}`, column.comment)),
  ].join('');
}

const describeIndex = ({ definition }: Index) => `${lower(definition).replace(' on only ', ' on ')};\n`;

const newDefault = (column: Column) => `${column.name} default ${lower(column.default ?? 'null')}`;

const inBrackets = (lines: string[]) =>
  lines.length === 0 ? '' : ` (\n${lines.map((line) => `  ${line}`).join(',\n')}\n)`;

function alignColumns(columns: Column[]): string[] {
  const types = columns.map((column) => column.type.replace('timestamp with time zone', 'timestamptz'));
  const width = Math.max(...columns.map((column) => column.name.length));
  const typeWidth = Math.max(...types.map((type) => type.length));
  return columns.map((column, index) => {
    const required = column.required ? ' not null' : '';
    const value = column.default === null ? '' : `${required ? '' : '         '} default ${lower(column.default)}`;
    return `${column.name.padEnd(width)} ${types[index]!.padEnd(typeWidth)}${required}${value}`.trimEnd();
  });
}

function describePolicy({ name, table, permissive, roles, command, using, with_check }: Policy): string {
  return [
    `create policy ${name} on ${table} as ${lower(permissive)} for ${lower(command)} to ${roles.join(', ')}`,
    using ? ` using (${using})` : '',
    with_check ? ` with check (${with_check})` : '',
    ';\n',
  ].join('');
}

function describeFunction(func: Func, { schema }: Server): string {
  const traits = [
    `language ${func.language}`,
    func.volatility,
    func.strict && 'strict',
    func.definer && 'security definer',
  ];
  const settings = (func.settings ?? []).map((setting) => {
    const [name, value] = setting.split(/=(.*)/s, 2);
    return setting === `search_path=${schema}, pg_temp` ? 'set search_path from current' : `set ${name} = ${value}`;
  });
  return [
    `create function ${func.name}(${lower(func.arguments)}) returns ${func.result}\n`,
    `  ${traits.filter(Boolean).join(' ')}\n`,
    ...settings.map((setting) => `  ${setting}\n`),
    `as $$${asInPublic(func.body, schema)}$$;\n`,
    commentOn('function', func.name, func.comment),
  ].join('');
}

/** What is named after the schema is shown as it is in public. */
function asInPublic(body: string, schema: string): string {
  const [here, there] = [namesOf(schema), namesOf('public')];
  return body
    .replaceAll(`"${here.tickets}"`, `"${there.tickets}"`)
    .replaceAll(`'${here.workers}'`, `'${there.workers}'`)
    .replaceAll(`'${here.ended}'`, `'${there.ended}'`);
}

function describeTrigger(definition: string): string {
  return `${lower(definition).replace(/ (referencing|for each (?:row|statement)|execute function) /g, '\n  $1 ')};\n`;
}

function describeView({ name, definition, options, comment }: View, columns: Column[], { version }: Server): string {
  return [
    `create view ${name}${options ? ` with (${options})` : ''} as\n`,
    `${lower(version < 16 ? unqualified(definition) : definition).trim()}\n`,
    commentOn('view', name, comment),
    ...columns.map((column) => commentOn('column', `${name}.${column.name}`, column.comment)),
  ].join('');
}

/** Before Postgres 16, the columns of a view on one table were shown with that table's alias. */
function unqualified(view: string): string {
  const [, alias] = /\n {3}FROM \w+ (\w+)\n(?! +\w* ?JOIN)/.exec(view) ?? [];
  return alias ? view.replaceAll(new RegExp(`\\b${alias}\\.`, 'g'), '') : view;
}

const commentOn = (what: string, name: string, comment: string | null) =>
  comment === null ? '' : `comment on ${what} ${name} is '${comment.replaceAll("'", "''")}';\n`;

/**
 * In small letters, as we write SQL, but for what is quoted; and without the casts to text that Postgres adds to
 * literals.
 */
function lower(text: string): string {
  return text
    .replace(/'(?:[^']|'')*'|"[^"]*"|[^'"]+/g, (part) => (/^['"]/.test(part) ? part : part.toLowerCase()))
    .replace(/('(?:[^']|'')*')::text(?!\[)/g, '$1');
}

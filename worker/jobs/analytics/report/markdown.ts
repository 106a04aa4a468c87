import type { Facts } from './facts.ts';
import type { Insight } from './insights.ts';
import type { Section } from './sections.ts';

export type Whole = {
  title: string;
  facts: Facts;
  insights: Insight[];
  recommendations: Insight[];
  sections: Section[];
};

export function markdownOf({ title, facts, insights, recommendations, sections }: Whole): string {
  const parts = [
    `# ${escaped(title)}`,
    `${facts.first} to ${facts.last}, ${facts.length} days, ${facts.accounts.length} account(s).`,
    ...listOf('What happened', insights),
    ...listOf('What to try', recommendations),
    ...sections.flatMap(sectionOf),
  ];
  return `${parts.join('\n\n')}\n`;
}

const listOf = (title: string, found: Insight[]): string[] =>
  found.length === 0
    ? []
    : [
        `## ${title}`,
        found.map(({ text, n, formula }) => `- ${escaped(text)} (n = ${n}; ${escaped(formula)})`).join('\n'),
      ];

function sectionOf({ title, note, columns, rows, sql }: Section): string[] {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  const table = [
    line(columns.map(({ name }) => name)),
    line(columns.map(({ isNumber }) => (isNumber ? '--:' : '---'))),
    ...rows.map((cells) => line(cells.map(escaped))),
  ];
  return [`## ${title}`, note, table.join('\n'), `\`\`\`sql\n${sql}\n\`\`\``];
}

/** Titles of posts are other people's words: no table, link or picture is made of them. */
const escaped = (text: string) => text.replace(/\s+/g, ' ').replace(/[\\`*_[\]<>|#!]/g, '\\$&');

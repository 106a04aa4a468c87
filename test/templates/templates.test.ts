import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { compileTemplates } from '../../.build/templates.ts';
import { PermanentError } from '../../worker/base/errors.ts';
import { render } from '../../worker/jobs/notification/delivery/render.ts';
import { boxIdOf, boxTemplates, boxVariables, loadBoxTemplate } from '../../worker/templates/box.ts';
import { renderTemplate } from '../../worker/templates/template.ts';

// The templates in the box, and how strictly they are rendered.

const words = async (id: string, given: Record<string, unknown>, long = true) =>
  renderTemplate(await loadBoxTemplate(id, long), boxVariables(id, given));
const fails = (code: string, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof PermanentError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, message);
  return true;
};
const examples: Record<string, Record<string, unknown>> = {
  welcome: { user_name: 'Ada', dashboardUrl: 'https://nexus.example/dashboard' },
  'video-complete': { name: 'Ada', videoTitle: 'Clip', videoUrl: 'https://nexus.example/v/1' },
  'publishing-success': { title: 'Clip', platform: 'TikTok', postUrl: 'https://tiktok.example/1' },
  'password-reset': { resetLink: 'https://app.example/reset/1?a=1&b=2', expiresIn: '1 hour' },
  otp: { code: '123456', expires_in: '10 minutes' },
};

test('the HTML in the box is what its MJML makes: npm run templates', async () => {
  for (const [path, html] of await compileTemplates()) assert.equal(readFileSync(path, 'utf8'), html, path);
});

for (const id of Object.keys(boxTemplates))
  suite(id, () => {
    test('has HTML with a preheader, dark colours and both widths; a text; a short line', async () => {
      const { subject, text, html } = await words(id, examples[id]!);
      assert.ok(subject && !subject.includes('\n'));
      assert.match(html!, /display:none;/);
      assert.match(html!, /prefers-color-scheme: dark/);
      assert.match(html!, /@media only screen and \(min-width:480px\)/);
      assert.doesNotMatch(html!, /<link|<img|@import|url\(/, 'nothing is loaded from elsewhere when it is opened');
      for (const part of [subject, text, html!]) assert.doesNotMatch(part, /\{\{|\[object/);
      const short = await words(id, examples[id]!, false);
      assert.ok(short.text.length <= 160 && !short.text.includes('\n'), short.text);
      assert.equal(short.html, undefined);
    });
  });

test('the names of all seeds are known', () => {
  for (const name of ['welcome', 'tmpl_welcome', 'email-welcome', 'email_welcome'])
    assert.equal(boxIdOf(name), 'welcome');
  for (const name of ['email-video-complete', 'video_processing_complete'])
    assert.equal(boxIdOf(name), 'video-complete');
  for (const name of ['constructor', '__proto__', '../welcome', 'message', 'head'])
    assert.equal(boxIdOf(name), undefined, name);
});

test('a missing variable is named', async () => {
  await assert.rejects(
    words('welcome', {}),
    fails('missing_variable', /^Template welcome needs the variable name, or one of user_name/),
  );
  const own = { id: 'mine', subject: 'x', text: 'Hello {{user.first}}', html: '' };
  await assert.rejects(renderTemplate(own, { user: {} }), fails('missing_variable', /^Template mine needs .* first$/));
});

test('a title that the notice lacks is missing, and not empty', async () => {
  const wanted = { template_id: 'video-complete', variables: {}, body: undefined, locale: undefined };
  await assert.rejects(
    render(undefined, 'email', { ...wanted, title: undefined }, 'en'),
    fails('missing_variable', /^Template video-complete needs the variable title/),
  );
  const { subject } = await render(undefined, 'email', { ...wanted, title: 'Clip' }, 'en');
  assert.equal(subject, 'Your video is ready: Clip');
});

test('a subject that is cut short has no half of an emoji', async () => {
  const wanted = { template_id: undefined, variables: {}, title: undefined, locale: undefined };
  const { subject } = await render(undefined, 'email', { ...wanted, body: `a${'😀'.repeat(80)}` }, 'en');
  assert.equal(subject, `a${'😀'.repeat(49)}`);
});

test('HTML is escaped in the HTML alone; a subject is one line', async () => {
  const variables = { name: `<b>"O'Neil"\r\nBcc: x@example.com` };
  const notice = { template_id: 'welcome', variables, title: undefined, body: undefined, locale: undefined };
  const { subject, text, html } = await render(undefined, 'email', notice, 'en');
  assert.equal(subject, `Welcome, <b>"O'Neil" Bcc: x@example.com!`);
  assert.match(text, /^Welcome, <b>"O'Neil"/);
  assert.doesNotMatch(html!, /<b>"O/);
  assert.match(html!, /&lt;b&gt;&quot;O&#x27;Neil&quot;/);
});

test('a link is an address of the web', async () => {
  const { html, text } = await words('password-reset', examples['password-reset']!);
  assert.match(html!, /href="https:\/\/app\.example\/reset\/1\?a&#x3D;1&amp;b&#x3D;2"/);
  assert.match(text, /^https:\/\/app\.example\/reset\/1\?a=1&b=2$/m);
  for (const url of ['javascript:alert(1)', 'data:text/html,x', '//evil', 7, {}])
    await assert.rejects(words('password-reset', { url }), fails('unsafe_link', /no address/));
});

test('a template that is none is a permanent error', async () => {
  for (const text of ['{{#if a}}', '{{evil a}}', '{{> other}}'])
    await assert.rejects(
      renderTemplate({ id: 'mine', subject: 'x', text }, { a: 1 }),
      fails('invalid_template', /^Template mine/),
    );
});

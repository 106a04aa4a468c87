import { createTransport } from 'nodemailer';
import { render } from '../../worker/jobs/notification/delivery/render.ts';
import { workThrough } from './bare.ts';

// The anchor: nodemailer's pool alone, with the words that our job makes.

const message = { template_id: undefined, variables: {}, locale: undefined };
const words = await render(undefined, 'email', { ...message, title: 'Your order', body: 'It is on its way.' }, 'en');
const { hostname: host, port } = new URL(process.env['SMTP_URL']!);
const transport = createTransport({ pool: true, host, port: Number(port), ignoreTLS: true });

await workThrough(async (to) => {
  await transport.sendMail({ from: process.env['EMAIL_FROM'], to, ...words });
});

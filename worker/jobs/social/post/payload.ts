import { z } from 'zod';
import { platforms } from '../../../providers/social/social.ts';

/** A key in storage, an https address, or `{job: id}`: what that job of media.transcode makes. */
const source = z.union([z.string().min(1).max(2_048), z.strictObject({ job: z.int().positive() })]);
const text = z.string().max(100_000).optional();

/** What is published. */
export const content = z.strictObject({
  videoPath: source.optional(),
  imagePaths: z.array(z.string().min(1).max(2_048)).min(1).max(35).optional(),
  thumbnailPath: z.string().min(1).max(2_048).optional(),
  title: text,
  description: text,
  tags: z.array(z.string().min(1).max(500)).max(100).default([]),
  link: z.url({ protocol: /^https?$/ }).optional(),
});
export type Content = z.output<typeof content>;

/** How it is published. Each platform uses what it has. */
export const settings = z.strictObject({
  privacy: z.string().max(100).optional(),
  allowComments: z.boolean().optional(),
  allowDuet: z.boolean().optional(),
  allowStitch: z.boolean().optional(),
  mode: z.enum(['direct', 'inbox']).optional(),
  type: z.enum(['video', 'reel', 'story']).optional(),
  aiGenerated: z.boolean().optional(),
  brandContent: z.boolean().optional(),
  brandOrganic: z.boolean().optional(),
  coverMs: z.int().min(0).optional(),
  madeForKids: z.boolean().optional(),
  publishAt: z.iso.datetime({ offset: true }).optional(),
  categoryId: z.string().max(10).optional(),
  notifySubscribers: z.boolean().optional(),
  shareToFeed: z.boolean().optional(),
});

const id = z.union([z.int().positive(), z.string().regex(/^\d{1,15}$/)]).transform(Number);

/** A token that came with a job. It is not renewed: an account's is. */
const credentials = z.strictObject({
  accessToken: z.string().min(1).max(10_000),
  refreshToken: z.string().max(10_000).optional(),
  /** The platform's id of the account. Instagram and Facebook need it. */
  accountId: z.string().max(200).optional(),
});

/** `{postId}`, `{accountId, content, settings}`, or `{platform, credentials, content, settings}`. */
export const publishPayload = z
  .object({
    postId: id.optional(),
    accountId: id.optional(),
    platform: z.enum(platforms).optional(),
    credentials: credentials.optional(),
    content: content.optional(),
    settings: settings.optional(),
  })
  .superRefine((payload, context) => {
    const { postId, accountId, platform, credentials: given } = payload;
    const issue = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    if (postId !== undefined) return;
    if (!payload.content) issue('content', 'is missing, and so is postId');
    if (accountId === undefined && !platform) issue('platform', 'is missing, and so is accountId');
    if (accountId === undefined && !given) issue('credentials', 'is missing, and so is accountId');
  });
export type PublishPayload = z.output<typeof publishPayload>;

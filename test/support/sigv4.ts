import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/**
 * Judges the signature of a request as S3 does, written from the specification rather than on the SDK's own signer, so
 * that the two check each other.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html
 */

export type SignedRequest = { method: string; url: string; headers: IncomingHttpHeaders; body: Buffer };
export type Identity = { accessKeyId: string; secretAccessKey: string; region: string };
export type Refusal = { status: number; code: string; message: string };

/** Why S3 would refuse the request, or undefined if it would serve it. */
export function refusalOf(request: SignedRequest, identity: Identity): Refusal | undefined {
  const query = queryOf(request.url);
  const claim = claimOf(request, query);
  if (!claim) return refused(403, 'AccessDenied', 'Access Denied');
  const [accessKeyId, day, region, service, terminator] = claim.credential.split('/');
  if (accessKeyId !== identity.accessKeyId)
    return refused(403, 'InvalidAccessKeyId', 'The AWS Access Key Id you provided does not exist in our records.');
  if (region !== identity.region || service !== 's3' || terminator !== 'aws4_request' || !claim.date.startsWith(day!))
    return refused(
      400,
      'AuthorizationHeaderMalformed',
      `The authorization header is malformed; the region '${region}' is wrong; expecting '${identity.region}'`,
    );
  return (
    dateRefusal(claim) ??
    unsignedHeaderRefusal(request, claim) ??
    signatureRefusal(request, query, claim, identity) ??
    bodyRefusal(request, claim)
  );
}

type Claim = {
  credential: string;
  signedHeaders: string[];
  signature: string;
  /** As it was signed: 20260131T235959Z. */
  date: string;
  contentSha256: string;
  expiresInSeconds?: number;
};

function claimOf({ headers }: SignedRequest, query: [string, string][]): Claim | undefined {
  const parameter = new Map(query);
  const presigned = parameter.get('X-Amz-Signature');
  if (presigned)
    return {
      credential: parameter.get('X-Amz-Credential') ?? '',
      signedHeaders: (parameter.get('X-Amz-SignedHeaders') ?? '').split(';'),
      signature: presigned,
      date: parameter.get('X-Amz-Date') ?? '',
      contentSha256: 'UNSIGNED-PAYLOAD',
      expiresInSeconds: Number(parameter.get('X-Amz-Expires')),
    };
  const match = /^AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
    headers.authorization ?? '',
  );
  if (!match) return undefined;
  return {
    credential: match[1]!,
    signedHeaders: match[2]!.split(';'),
    signature: match[3]!,
    date: headerOf(headers, 'x-amz-date'),
    contentSha256: headerOf(headers, 'x-amz-content-sha256'),
  };
}

function dateRefusal({ date, expiresInSeconds }: Claim): Refusal | undefined {
  const signedAt = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
  const ageSeconds = (Date.now() - signedAt) / 1000;
  if (expiresInSeconds !== undefined)
    return ageSeconds <= expiresInSeconds ? undefined : refused(403, 'AccessDenied', 'Request has expired');
  if (Math.abs(ageSeconds) <= 15 * 60) return undefined;
  return refused(
    403,
    'RequestTimeTooSkewed',
    'The difference between the request time and the current time is too large.',
  );
}

function unsignedHeaderRefusal({ headers }: SignedRequest, { signedHeaders }: Claim): Refusal | undefined {
  const mustBeSigned = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))];
  const unsigned = mustBeSigned.filter((name) => !signedHeaders.includes(name));
  if (unsigned.length === 0) return undefined;
  return refused(
    403,
    'AccessDenied',
    `There were headers present in the request which were not signed: ${unsigned.join(', ')}`,
  );
}

function signatureRefusal(
  request: SignedRequest,
  query: [string, string][],
  claim: Claim,
  { secretAccessKey, region }: Identity,
): Refusal | undefined {
  const day = claim.date.slice(0, 8);
  const scope = `${day}/${region}/s3/aws4_request`;
  const stringToSign = ['AWS4-HMAC-SHA256', claim.date, scope, sha256(canonicalRequest(request, query, claim))].join(
    '\n',
  );
  const key = [day, region, 's3', 'aws4_request'].reduce<Buffer>(hmac, Buffer.from(`AWS4${secretAccessKey}`));
  const expected = hmac(key, stringToSign);
  if (timingSafeEqual(expected, Buffer.from(claim.signature, 'hex'))) return undefined;
  return refused(
    403,
    'SignatureDoesNotMatch',
    'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
  );
}

function canonicalRequest({ method, url, headers }: SignedRequest, query: [string, string][], claim: Claim): string {
  const path = url.replace(/\?.*$/, '').split('/').map(decodeURIComponent).map(escape).join('/');
  const parameters = query
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => `${escape(name)}=${escape(value)}`)
    .toSorted();
  const names = claim.signedHeaders.toSorted();
  const values = names.map((name) => `${name}:${headerOf(headers, name).trim().replaceAll(/\s+/g, ' ')}`);
  return [method, path, parameters.join('&'), ...values, '', names.join(';'), claim.contentSha256].join('\n');
}

function bodyRefusal({ headers, body }: SignedRequest, { contentSha256 }: Claim): Refusal | undefined {
  const contentMd5 = headers['content-md5'];
  if (contentMd5 !== undefined && contentMd5 !== createHash('md5').update(body).digest('base64'))
    return refused(400, 'BadDigest', 'The Content-MD5 you specified did not match what we received.');
  if (contentSha256 === 'UNSIGNED-PAYLOAD' || contentSha256 === sha256(body)) return undefined;
  return refused(400, 'XAmzContentSHA256Mismatch', "The provided 'x-amz-content-sha256' header does not match.");
}

const queryOf = (url: string): [string, string][] =>
  (url.split('?')[1] ?? '')
    .split('&')
    .filter(Boolean)
    .map((pair) => {
      const [name = '', value = ''] = pair.split('=').map(decodeURIComponent);
      return [name, value];
    });

const escape = (text: string) =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
const headerOf = (headers: IncomingHttpHeaders, name: string) => String(headers[name] ?? '');
const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');
const hmac = (key: Buffer, data: string) => createHmac('sha256', key).update(data).digest();
const refused = (status: number, code: string, message: string): Refusal => ({ status, code, message });

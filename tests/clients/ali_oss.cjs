// Puts ali-oss through its multipart calls against one server and prints what it saw as one JSON line.
// Configuration comes as JSON in the environment variable ALI_OSS_TEST, so that no key stands on a command line.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const OSS = require('ali-oss');

const { options, key } = JSON.parse(process.env.ALI_OSS_TEST);
const client = new OSS(options);
const md5 = (data) => crypto.createHash('md5').update(data).digest('hex');
const failure = (promise) => promise.then(() => null, (e) => ({ name: e.name, code: e.code, status: e.status }));

function fetchFrom(endpoint, url) {
  const { hostname, port } = new URL(endpoint);
  return new Promise((resolve, reject) => {
    http
      .get({ hostname, port, path: url.pathname + url.search, headers: { Host: url.host } }, (res) => {
        let body = '';
        res.on('data', (piece) => { body += piece; });
        res.on('end', () => resolve([res.statusCode, body]));
      })
      .on('error', reject);
  });
}

async function main() {
  const seen = {};
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ali-oss-'));
  const file = path.join(folder, 'source.bin');
  const data = crypto.randomBytes(450 * 1024 + 7);
  fs.writeFileSync(file, data);
  try {
    // put, head, get
    const put = await client.put(`${key}/put`, Buffer.from('hello'), { meta: { year: 2015, people: 'mary' } });
    seen.put = { status: put.res.status, etag: put.res.headers.etag };
    const head = await client.head(`${key}/put`);
    seen.head = { status: head.status, meta: head.meta, length: head.res.headers['content-length'] };
    seen.get = (await client.get(`${key}/put`)).content.toString();

    // the high-level upload, with progress and metadata
    const progress = [];
    const big = await client.multipartUpload(`${key}/big`, file, {
      partSize: 102400,
      parallel: 3,
      meta: { from: 'node' },
      headers: { 'x-oss-storage-class': 'IA', 'Cache-Control': 'no-cache' },
      progress: (p, checkpoint, res) => progress.push([p, checkpoint ? checkpoint.doneParts.length : null]),
    });
    seen.multipart = { etag: big.etag, name: big.name, bucket: big.bucket, status: big.res.status };
    seen.progress = progress;
    const bigHead = await client.head(`${key}/big`);
    seen.bigHead = { meta: bigHead.meta, headers: bigHead.res.headers };
    seen.same = md5((await client.get(`${key}/big`)).content) === md5(data);

    // the single calls
    const { uploadId } = await client.initMultipartUpload(`${key}/steps`);
    const one = await client.uploadPart(`${key}/steps`, uploadId, 1, file, 0, 204800);
    const two = await client.uploadPart(`${key}/steps`, uploadId, 2, file, 204800, data.length);
    const parts = await client.listParts(`${key}/steps`, uploadId, { 'max-parts': 1 });
    seen.parts = { truncated: parts.isTruncated, next: parts.nextPartNumberMarker, one: parts.parts };
    const all = await client.listParts(`${key}/steps`, uploadId);
    seen.allParts = all.parts.map((p) => [p.PartNumber, p.ETag, p.Size, p.HashCrc64ecma]);
    const uploads = await client.listUploads({ prefix: `${key}/`, 'max-uploads': 10 });
    seen.uploads = uploads.uploads.map((u) => [u.name, u.uploadId === uploadId]);
    const done = await client.completeMultipartUpload(`${key}/steps`, uploadId, [
      { number: 1, etag: one.etag },
      { number: 2, etag: two.etag },
    ]);
    seen.complete = { etag: done.etag, status: done.res.status };
    seen.stepsSame = md5((await client.get(`${key}/steps`)).content) === md5(data);
    seen.twice = await failure(client.completeMultipartUpload(`${key}/steps`, uploadId, [{ number: 1, etag: one.etag }]));

    // abort
    const aborted = await client.initMultipartUpload(`${key}/aborted`);
    await client.uploadPart(`${key}/aborted`, aborted.uploadId, 1, file, 0, 102400);
    seen.abort = (await client.abortMultipartUpload(`${key}/aborted`, aborted.uploadId)).res.status;
    seen.abortTwice = await failure(client.abortMultipartUpload(`${key}/aborted`, aborted.uploadId));
    seen.afterAbort = (await client.listUploads({ prefix: `${key}/` })).uploads || [];

    // a presigned URL, fetched by somebody without keys; ali-oss makes none for an IP address, so it is made for the
    // real host and sent here with that Host header
    const real = new OSS({ ...options, endpoint: undefined, sldEnable: false });
    const url = new URL(
      options.authorizationV4
        ? await real.signatureUrlV4('GET', 60, {}, `${key}/put`)
        : real.signatureUrl(`${key}/put`, { expires: 60 })
    );
    seen.presigned = await fetchFrom(options.endpoint, url);
    url.pathname += 'x';
    seen.presignedElsewhere = await fetchFrom(options.endpoint, url);

    // errors and listings
    seen.missing = await failure(client.head(`${key}/missing`));
    seen.missingGet = await failure(client.get(`${key}/missing`));
    const list = await client.listV2({ prefix: `${key}/`, 'max-keys': 100 });
    seen.list = list.objects.map((o) => o.name);
    const old = await client.list({ prefix: `${key}/`, 'max-keys': 2 });
    seen.oldList = { names: old.objects.map((o) => o.name), truncated: old.isTruncated };
    seen.delete = (await client.delete(`${key}/put`)).res.status;
    const wrong = new OSS({ ...options, accessKeySecret: 'wrong' });
    seen.wrongSecret = await failure(wrong.get(`${key}/big`));
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error.stack);
  process.exit(1);
});

// What npm ali-oss does with the embedded OSS, one task per run; the answer is one line of JSON.
// Configuration comes as JSON in the environment variable ALI_OSS_TEST, so that no key stands on a command line.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const OSS = require(path.join(__dirname, '..', 'clients', 'node_modules', 'ali-oss'));

const { task, options, name, file, checkpointFile, more = {} } = JSON.parse(process.env.ALI_OSS_TEST);
const client = new OSS(options);
const failure = (promise) => promise.then(() => null, (e) => ({ name: e.name, code: e.code, status: e.status }));

function send(method, endpoint, url, body = '') {
  const { hostname, port } = new URL(endpoint);
  return new Promise((resolve, reject) => {
    const request = http.request(
      { method, hostname, port, path: url.pathname + url.search, headers: { Host: url.host } },
      (res) => {
        let text = '';
        res.on('data', (piece) => { text += piece; });
        res.on('end', () => resolve([res.statusCode, text]));
      }
    );
    request.on('error', reject);
    request.end(body);
  });
}

const tasks = {
  // Upload, and write every checkpoint to a file, as the documentation advises; the server breaks it off.
  async begin() {
    try {
      await client.multipartUpload(name, file, {
        partSize: 102400,
        parallel: 2,
        progress: async (p, checkpoint) => {
          if (checkpoint) fs.writeFileSync(checkpointFile, JSON.stringify(checkpoint));
        },
      });
      return { done: true };
    } catch (e) {
      return { done: false, name: e.name, code: e.code };
    }
  },

  // Go on from a checkpoint that somebody else wrote.
  async resume() {
    const checkpoint = JSON.parse(fs.readFileSync(checkpointFile, 'utf8'));
    const seen = [];
    const res = await client.multipartUpload(name, file, {
      checkpoint,
      parallel: 2,
      progress: async (p) => { seen.push(p); },
    });
    return { etag: res.etag, name: res.name, status: res.res.status, progress: seen };
  },

  // Everything of the parity table that a server has to answer.
  async features() {
    const seen = {};
    // made anew for each call: ali-oss writes into its caller's headers, a Content-Length among them
    const headers = () => ({
      'x-oss-tagging': 'Tag1=1&Tag2=2',
      'x-oss-server-side-encryption': 'AES256',
      'x-oss-storage-class': 'IA',
      'x-oss-forbid-overwrite': 'true',
    });
    const big = await client.multipartUpload(name, file, {
      partSize: 102400,
      headers: headers(),
      meta: { year: 2020, people: 'test' },
      mime: 'text/plain',
      callback: {
        url: more.good,
        host: 'app.example.com',
        body: 'object=${object}&var1=${x:var1}',
        contentType: 'application/x-www-form-urlencoded',
        customValue: { var1: 'value1', var2: 'value2' },
      },
    });
    seen.callback = { data: big.data, status: big.res.status };
    seen.head = (await client.head(name)).res.headers;
    seen.tags = (await client.getObjectTagging(name)).tag;
    seen.overwriteAtInitiate = await failure(client.multipartUpload(name, file, { partSize: 102400, headers: headers() }));
    seen.overwriteByPut = await failure(client.put(name, Buffer.from('x'), { headers: headers() }));

    const late = await client.initMultipartUpload(`${name}-late`);
    const part = await client.uploadPart(`${name}-late`, late.uploadId, 1, file, 0, 102400);
    await client.put(`${name}-late`, Buffer.from('meanwhile'));
    seen.overwriteAtComplete = await failure(client.completeMultipartUpload(
      `${name}-late`, late.uploadId, [{ number: 1, etag: part.etag }], { headers: { 'x-oss-forbid-overwrite': 'true' } }
    ));
    seen.callbackFailed = await failure(client.multipartUpload(`${name}-bad`, file, {
      partSize: 102400,
      callback: { url: more.bad, body: 'object=${object}' },
    }));
    seen.storedNevertheless = (await client.head(`${name}-bad`)).res.headers['content-length'];

    for (const key of ['a b+c/1', 'a b+c/2', 'z']) await client.initMultipartUpload(`${name}-list/${key}`);
    const listed = await client.listUploads({ prefix: `${name}-list/`, delimiter: '/' });
    seen.uploads = listed.uploads.map((u) => u.name);
    const coded = await client.listUploads({ prefix: `${name}-list/a`, 'encoding-type': 'url', 'max-uploads': 1 });
    seen.encoded = coded.uploads.map((u) => u.name);

    const condition = { headers: { 'If-None-Match': seen.head.etag } };
    seen.notModified = (await client.get(name, undefined, condition)).res.status; // no error in ali-oss
    seen.precondition = await failure(client.head(name, { headers: { 'If-Match': '"0"' } }));

    const sequence = await client.initMultipartUpload(`${name}-seq`, { subres: { uploads: '', sequential: '' } });
    seen.sequential = sequence.uploadId.length;

    const real = new OSS({ ...options, endpoint: undefined, sldEnable: false });
    const sign = async (method, key, query = {}) =>
      new URL(options.authorizationV4
        ? await real.signatureUrlV4(method, 60, { queries: query }, key)
        : real.signatureUrl(key, { method, expires: 60, ...(query.uploadId ? { subResource: query } : {}) }));
    seen.putLink = await send('PUT', options.endpoint, await sign('PUT', `${name}-link`), 'by link');
    seen.getLink = await send('GET', options.endpoint, await sign('GET', `${name}-link`));
    const parts = await client.initMultipartUpload(`${name}-parts`);
    const url = await sign('PUT', `${name}-parts`, { partNumber: '1', uploadId: parts.uploadId });
    seen.partLink = (await send('PUT', options.endpoint, url, 'a part by link'))[0];
    seen.partListed = (await client.listParts(`${name}-parts`, parts.uploadId)).parts.Size;
    return seen;
  },
};

tasks[task]()
  .then((seen) => console.log(JSON.stringify(seen)))
  .catch((error) => {
    console.error(error.stack);
    process.exit(1);
  });

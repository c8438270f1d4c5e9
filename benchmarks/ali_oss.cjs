// One upload by ali-oss: node ali_oss.cjs FILE PART_SIZE PARALLEL BASE_URL MODULES
const fs = require('fs');
const path = require('path');
const [file, part, parallel, base, modules] = process.argv.slice(2);
const OSS = require(path.join(modules, 'ali-oss'));
const field = (name) => {
  try {
    return parseInt(fs.readFileSync('/proc/self/status', 'utf8').split(name + ':')[1]) * 1024;
  } catch { return process.resourceUsage().maxRSS * 1024; }
};
(async () => {
  const client = new OSS({ accessKeyId: 'benchmark-id', accessKeySecret: 'benchmark-secret', bucket: 'bkt', endpoint: base, cname: true, timeout: 600000 });
  try { fs.writeFileSync('/proc/self/clear_refs', '5'); } catch { /* not Linux */ }
  const before = field('VmRSS'), cpu = process.cpuUsage(), began = process.hrtime.bigint();
  await client.multipartUpload('key-' + Date.now(), file, { partSize: +part, parallel: +parallel });
  const wall = Number(process.hrtime.bigint() - began) / 1e9, used = process.cpuUsage(cpu);
  console.log(JSON.stringify({ wall, cpu: (used.user + used.system) / 1e6, rss_before: before, rss_peak: field('VmHWM') }));
})().catch((error) => { console.error(error); process.exit(1); });

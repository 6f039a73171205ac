// What tampering is measured against: one file kept with nothing but fs.watch and synchronous calls. No manifest, no
// journal, no checks of who may write where. Its arguments: the file, and a file with what is wanted in it.
import fs from 'node:fs';
import path from 'node:path';

const [file, wantedFile] = process.argv.slice(2);
const wanted = fs.readFileSync(wantedFile);

function heal() {
  try {
    if ((fs.statSync(file).mode & 0o777) === 0o644 && fs.readFileSync(file).equals(wanted)) return;
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  const fd = fs.openSync(`${file}.new`, 'w', 0o644);
  fs.writeSync(fd, wanted);
  fs.fchmodSync(fd, 0o644);
  fs.closeSync(fd);
  fs.renameSync(`${file}.new`, file);
}

fs.watch(path.dirname(file), (_event, name) => {
  if (name === path.basename(file)) heal();
});
heal();

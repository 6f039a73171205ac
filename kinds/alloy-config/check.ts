// What the controller can say of an AlloyConfig before anything is signed. Pure.
import path from 'node:path';
import type { Finding } from '../kind.ts';
import { lockouts } from './http-block.ts';
import type { AlloyConfigSpec } from './schema.ts';

export function checkSpec(spec: AlloyConfigSpec): Finding[] {
  const host = (['unit', 'manager', 'binary'] as const).find((field) => spec[field] !== undefined);
  if (spec.container !== undefined && host !== undefined) {
    const message = `${host} is for an Alloy of the host, container for one in a container; keep one`;
    return [{ path: [host], message }];
  }
  if (spec.files === undefined) return checkContent(spec, spec, []);
  const other = (['content', 'contentFrom'] as const).find((field) => spec[field] !== undefined);
  if (other !== undefined) {
    return [{ path: [other], message: `files and ${other} exclude each other; keep one` }];
  }
  if (spec.directory !== undefined) {
    const message = 'files are always those of a directory that Alloy loads as a whole; leave directory out';
    return [{ path: ['directory'], message }];
  }
  if (path.extname(spec.path ?? '') === '.alloy') {
    const message = 'with files the path is that of the directory, as /etc/alloy';
    return [{ path: ['path'], message }];
  }
  const files = Object.entries(spec.files);
  if (files.length === 0) return [{ path: ['files'], message: 'files names no file' }];
  return files.flatMap(([name, file]) => checkContent(file, spec, ['files', name]));
}

function checkContent(
  { content, contentFrom }: Pick<AlloyConfigSpec, 'content' | 'contentFrom'>,
  spec: AlloyConfigSpec,
  at: readonly string[],
): Finding[] {
  if (content !== undefined && contentFrom !== undefined) {
    const message = 'content and contentFrom exclude each other; keep one';
    return [{ path: [...at, 'contentFrom'], message }];
  }
  if (content === undefined && contentFrom === undefined) {
    const what = at.length === 0 ? 'an AlloyConfig' : 'a file';
    return [{ path: at, message: `${what} needs content, or contentFrom: a file beside the manifest` }];
  }
  if (typeof content !== 'string') return [];
  // An empty config stops a collector: everything it sends ends without an error.
  if (content.trim() === '') {
    const message = 'an empty config stops all telemetry; stop the Service if that is meant';
    return [{ path: [...at, 'content'], message }];
  }
  const { basicAuth, tls } = spec.http ?? {};
  const credentials = {
    basicAuth: basicAuth && { username: basicAuth.username, password: undefined },
    tls: tls !== undefined,
  };
  return lockouts(content, credentials).map(({ message, line, column }) => ({
    path: [...at, 'content'],
    message,
    place: { line, column },
  }));
}

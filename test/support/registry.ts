// A registry of images on loopback, as much of it as an engine's pull asks for. It is a stand-in, since none can be had
// where this is developed: /v2/, manifests by tag or digest, and blobs (github.com/opencontainers/distribution-spec,
// "Pull"). Engines speak plain HTTP to registries on loopback.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { sha256 } from '../../api/json.ts';

const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';

export class Registry {
  /** Requests for layers wait half-way for as long as it is true. */
  holdsBack = false;
  /** Who may ask, as `name:password`; undefined for everyone. */
  account: string | undefined;
  /** Method and path of what was asked, in order. */
  readonly asked: string[] = [];
  readonly #blobs = new Map<string, Buffer>();
  readonly #manifests = new Map<string, string>();
  readonly #waiting: (() => void)[] = [];
  readonly #server = http.createServer((request, response) => this.#answer(request, response));

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  async stop(): Promise<void> {
    this.release();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Lets layers through. */
  release(): void {
    this.holdsBack = false;
    for (const go of this.#waiting.splice(0)) go();
  }

  /**
   * @param tree a directory whose files the image has.
   * @param config as in an image's config: Cmd, Env, …
   * @returns the manifest's digest.
   */
  push(tag: string, tree: string, config: Record<string, unknown>): string {
    const tar = execFileSync('tar', ['--create', '--directory', tree, '.'], { maxBuffer: 64 * 1024 * 1024 });
    const layer = this.#blob(gzipSync(tar));
    const rootfs = { type: 'layers', diff_ids: [`sha256:${sha256(tar)}`] };
    const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as 'x64'];
    const image = this.#blob(Buffer.from(JSON.stringify({ architecture, os: 'linux', config, rootfs })));
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: { mediaType: 'application/vnd.docker.container.image.v1+json', ...image },
      layers: [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', ...layer }],
    });
    const digest = `sha256:${sha256(manifest)}`;
    this.#manifests.set(tag, manifest).set(digest, manifest);
    return digest;
  }

  #blob(bytes: Buffer): { digest: string; size: number } {
    const digest = `sha256:${sha256(bytes)}`;
    this.#blobs.set(digest, bytes);
    return { digest, size: bytes.length };
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url!, 'http://registry');
    this.asked.push(`${request.method} ${pathname}`);
    const basic = `Basic ${Buffer.from(this.account ?? '').toString('base64')}`;
    if (this.account !== undefined && request.headers.authorization !== basic) {
      const error = '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}';
      const headers = { 'content-type': 'application/json', 'www-authenticate': 'Basic realm="registry"' };
      response.writeHead(401, headers).end(error);
      return;
    }
    const last = path.posix.basename(pathname);
    const manifest = pathname.includes('/manifests/') ? this.#manifests.get(last) : undefined;
    const blob = pathname.includes('/blobs/') ? this.#blobs.get(last) : undefined;
    if (pathname === '/v2/') response.end('{}');
    else if (manifest !== undefined) {
      const headers = { 'content-type': MANIFEST, 'docker-content-digest': `sha256:${sha256(manifest)}` };
      response.writeHead(200, { ...headers, 'content-length': Buffer.byteLength(manifest) });
      response.end(request.method === 'HEAD' ? undefined : manifest);
    } else if (blob !== undefined) {
      response.writeHead(200, { 'content-length': blob.length });
      const half = blob.length >> 1;
      response.write(blob.subarray(0, half));
      // A config is read whole before its layers are asked for.
      if (this.holdsBack && blob.length > 10_000) await new Promise<void>((go) => this.#waiting.push(go));
      response.end(blob.subarray(half));
    } else {
      response.writeHead(404, { 'content-type': 'application/json' });
      response.end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
    }
  }
}

/** A directory for `push`: busybox as sh and sleep, and a file that makes one image differ from another. */
export function imageTree(directory: string, release: string): string {
  const tree = path.join(directory, `image-${release}`);
  fs.mkdirSync(path.join(tree, 'bin'), { recursive: true });
  fs.copyFileSync('/bin/busybox', path.join(tree, 'bin/busybox'));
  for (const applet of ['sh', 'sleep', 'cat']) fs.symlinkSync('busybox', path.join(tree, 'bin', applet));
  fs.writeFileSync(path.join(tree, 'release'), release);
  return tree;
}

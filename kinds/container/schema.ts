import * as z from 'zod';
import { Ref, SecretRef } from '../../api/documents.ts';
import { AbsolutePath, ContainerName, ImageReference } from '../fields.ts';
import type { Desired } from '../kind.ts';

const HostPath = z.union([z.literal('/'), AbsolutePath]);
const Target = z
  .string()
  .regex(/^\/[^\0:]+$/, 'where a container sees a mount is an absolute path other than "/"');
/** As `docker run --memory` takes it. */
const Bytes = z.string().regex(/^[1-9]\d*[kmg]$/, 'a size is written as "256m": k, m or g');

const Mount = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('bind'),
    /** A file or directory of the host; it must be there. */
    source: HostPath,
    target: Target,
    readOnly: z.boolean().optional(),
    /** Whether mounts that come later are seen (rslave), as for `/`; default rprivate: they are not. */
    propagation: z.enum(['rprivate', 'rslave', 'rshared']).optional(),
  }),
  z.strictObject({
    type: z.literal('volume'),
    /** The volume's name; made when there is none, and kept when the container goes. */
    source: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/, 'a volume is named as alloy-data'),
    target: Target,
    readOnly: z.boolean().optional(),
  }),
  z.strictObject({ type: z.literal('tmpfs'), target: Target, size: Bytes.optional() }),
]);
export type Mount = z.infer<typeof Mount>;

/** Seconds; what is left out is as in the image. */
const Healthcheck = z.strictObject({
  /** A program of the image with its arguments; exit code 0 is healthy. */
  command: z.array(z.string()).min(1),
  intervalSeconds: z.number().positive().optional(),
  timeoutSeconds: z.number().positive().optional(),
  startPeriodSeconds: z.number().positive().optional(),
  retries: z.number().int().positive().optional(),
});

export const ContainerSpec = z.strictObject({
  name: ContainerName,
  image: ImageReference,
  /** When the registry is asked: without the image here (missing, the default), at every change, or never. */
  pull: z.enum(['missing', 'always', 'never']).optional(),
  entrypoint: z.array(z.string()).min(1).optional(),
  command: z.array(z.string()).min(1).optional(),
  env: z
    .record(
      z.string().regex(/^[A-Za-z_][A-Za-z0-9_.]*$/, 'a variable’s name has letters, digits and "_"'),
      z.union([z.string(), SecretRef]),
    )
    .optional(),
  mounts: z.array(Mount).optional(),
  /** host, none, bridge (the default), container:NAME or the name of a network that is there. */
  network: z
    .string()
    .regex(
      /^(?:container:)?[a-zA-Z0-9][a-zA-Z0-9_.-]*$/,
      'a network is host, none, bridge, container:NAME or a network’s name',
    )
    .optional(),
  /** As 127.0.0.1:9090:9090 or 127.0.0.1:53:53/udp: the host's address is part of it. */
  ports: z
    .array(
      z
        .string()
        .regex(
          /^(?:(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\]):)?\d{1,5}:\d{1,5}(?:\/(?:tcp|udp))?$/,
          'a port is published as 127.0.0.1:9090:9090: the host’s address, its port, the container’s port',
        ),
    )
    .optional(),
  hostname: z
    .string()
    .regex(/^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$/, 'a host’s name')
    .optional(),
  /** Whose processes the container sees: its own, or the host's. */
  pid: z.literal('host').optional(),
  /** As user, user:group or numbers; default: the image's. */
  user: z
    .string()
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/, 'user, or user:group')
    .optional(),
  workingDir: AbsolutePath.optional(),
  privileged: z.boolean().optional(),
  /** Without or with CAP_: NET_ADMIN. */
  capAdd: z.array(z.string().regex(/^[A-Z_]+$/, 'a capability is named as NET_ADMIN')).optional(),
  capDrop: z.array(z.string().regex(/^[A-Z_]+$/, 'a capability is named as NET_ADMIN, or ALL')).optional(),
  readOnlyRoot: z.boolean().optional(),
  memory: Bytes.optional(),
  /** What the engine does when it ends by itself or the host boots; default always. */
  restart: z.enum(['no', 'always', 'unless-stopped', 'on-failure']).optional(),
  /** Between SIGTERM and SIGKILL; default: the image's, or 10. */
  stopTimeoutSeconds: z.number().int().nonnegative().max(100).optional(),
  healthcheck: Healthcheck.optional(),
  labels: z.record(z.string().min(1), z.string()).optional(),
  /** Resources that its process reads when it starts: it is restarted when one was changed after that. */
  restartOn: z.array(Ref).optional(),
  /** Whether a container of this name that somebody else made may be replaced, and comes back at removal. */
  adopt: z.boolean().optional(),
});
export type ContainerSpec = z.infer<typeof ContainerSpec>;

/** Of the container that was brought to where it should be. */
export const Memory = z.object({
  spec: z.string(),
  /** ID of its image: what is healed is made of the same, wherever the image's name points by then. */
  image: z.string(),
  startedAt: z.string(),
  /** By reference, the digest of each input that the process was started with. */
  inputs: z.record(z.string(), z.string()),
  /** By path, when each directory of the host that it was started with was made. */
  sources: z.record(z.string(), z.number()).optional(),
  /** Volumes that nobody named, by where it sees them: one that is made anew gets them again. */
  volumes: z.record(z.string(), z.string()).optional(),
});
export type Memory = z.infer<typeof Memory>;
export type D = Desired<ContainerSpec, Memory>;

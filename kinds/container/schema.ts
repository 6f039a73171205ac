import * as z from 'zod';
import { Ref, SecretRef } from '../../api/documents.ts';
import { Start } from '../container-start.ts';
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

/** As `docker run --ulimit`: one value for both, or soft and hard; -1 is no limit. */
const Ulimit = z
  .union([z.int().min(-1), z.strictObject({ soft: z.int().min(-1), hard: z.int().min(-1) })])
  .optional();

export const ContainerSpec = z.strictObject({
  name: ContainerName,
  image: ImageReference,
  /** When the registry is asked: without the image here (missing, the default), at every change, or never. */
  pull: z.enum(['missing', 'always', 'never']).optional(),
  /** Whether images that it had before are removed once another one is confirmed, where no container has them. */
  removeOldImages: z.boolean().optional(),
  /** Who asks the registry, where it does not give the image to everyone. */
  registry: z.strictObject({ username: z.string().min(1).max(255), password: SecretRef }).optional(),
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
  /** As /dev/ttyUSB0, /dev/ttyUSB0:/dev/gps or /dev/ttyUSB0:/dev/gps:rw; links are followed on the host. */
  devices: z
    .array(
      z
        .string()
        .regex(
          /^\/[^\0:]+(?::\/[^\0:]+)?(?::[rwm]{1,3})?$/,
          'a device is /dev/ttyUSB0, /dev/ttyUSB0:/dev/gps or, with what may be done, /dev/ttyUSB0:/dev/gps:rw',
        ),
    )
    .optional(),
  /** Networks that it joins beside `network`, or instead of the default one where that is left out; each must be there. */
  networks: z
    .array(
      z.strictObject({
        name: z
          .string()
          .regex(
            /^(?!(?:host|none|default)$)[a-zA-Z0-9][a-zA-Z0-9_.-]*$/,
            'a network to join is one that was made, by its name',
          ),
        /** Other names by which it is found there; only in a network that somebody made. */
        aliases: z
          .array(
            z
              .string()
              .regex(
                /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/,
                'an alias is a name as web or db.local',
              ),
          )
          .min(1)
          .optional(),
      }),
    )
    .min(1)
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
  /** Names that it finds at these addresses, in /etc/hosts; host-gateway is the host, seen from its network. */
  extraHosts: z
    .record(
      z.string().regex(/^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/, 'a name as db.local'),
      z
        .string()
        .regex(
          /^(?:host-gateway|\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$/,
          'an IP address, or host-gateway',
        ),
    )
    .optional(),
  /** Whose processes the container sees: its own, or the host's. */
  pid: z.literal('host').optional(),
  /** As user, user:group or numbers; default: the image's. */
  user: z
    .string()
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/, 'user, or user:group')
    .optional(),
  /** Further groups of its processes, by number, or by name as the image knows them. */
  groupAdd: z
    .array(z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/, 'a group is a name or a number, as text: "999"'))
    .optional(),
  workingDir: AbsolutePath.optional(),
  privileged: z.boolean().optional(),
  /** Without or with CAP_: NET_ADMIN. */
  capAdd: z.array(z.string().regex(/^[A-Z_]+$/, 'a capability is named as NET_ADMIN')).optional(),
  capDrop: z.array(z.string().regex(/^[A-Z_]+$/, 'a capability is named as NET_ADMIN, or ALL')).optional(),
  readOnlyRoot: z.boolean().optional(),
  memory: Bytes.optional(),
  /** How many processors' time it gets: 0.5, 2. */
  cpus: z.number().min(0.01).max(10_000).optional(),
  /** How many processes and threads it may have. */
  pidsLimit: z.int().min(1).optional(),
  /** Limits of its processes, setrlimit(2). */
  ulimits: z
    .strictObject({
      core: Ulimit,
      cpu: Ulimit,
      data: Ulimit,
      fsize: Ulimit,
      locks: Ulimit,
      memlock: Ulimit,
      msgqueue: Ulimit,
      nice: Ulimit,
      nofile: Ulimit,
      nproc: Ulimit,
      rss: Ulimit,
      rtprio: Ulimit,
      rttime: Ulimit,
      sigpending: Ulimit,
      stack: Ulimit,
    })
    .optional(),
  /** Where the engine puts what it writes; default: as the engine is set up. */
  logging: z
    .strictObject({
      driver: z
        .string()
        .regex(/^[a-zA-Z0-9][a-zA-Z0-9_./:-]*$/, 'a log driver is named as json-file, local or journald')
        .optional(),
      /** The driver's own: max-size, max-file, tag, … */
      options: z.record(z.string().min(1), z.string()).optional(),
    })
    .optional(),
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
  ...Start.shape,
  /** Volumes that nobody named, by where it sees them: one that is made anew gets them again. */
  volumes: z.record(z.string(), z.string()).optional(),
  /** IDs of images that it had before, and that are to be removed. */
  oldImages: z.array(z.string()).optional(),
});
export type Memory = z.infer<typeof Memory>;
export type D = Desired<ContainerSpec, Memory>;

// Service fields have the names, forms and meaning that they have in a compose file (docs.docker.com/reference/
// compose-file): `${VAR}` is compose's, `$$` is a dollar sign. What could not be judged from the manifest (build,
// extends, include, secrets from files of the host) is left out on purpose.
import * as z from 'zod';
import { Ref, SecretRef } from '../../api/documents.ts';
import { Start } from '../container-start.ts';
import { AbsolutePath } from '../fields.ts';
import type { Desired } from '../kind.ts';

const ServiceName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, 'a service’s name has letters, digits, "_", "." and "-"');
const Scalar = z.union([z.string(), z.number(), z.boolean()]);
const Texts = z.array(z.string().min(1));
const Command = z.union([z.string().min(1), z.array(z.string())]);
const Duration = z.string().regex(/^(?:\d+(?:us|ms|s|m|h))+$/, 'a duration is written as 30s or 1m30s');

/** What a service of ours may say, and what may be added to one of the base files. */
const common = {
  /** Values with secretFrom reach the container through an env_file that only its owner may read. */
  environment: z
    .record(
      z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'a variable’s name has letters, digits and "_"'),
      z.union([Scalar, SecretRef]),
    )
    .optional(),
  labels: z.record(z.string().min(1), Scalar).optional(),
  /** Short form: 127.0.0.1:9250:9250. */
  ports: Texts.optional(),
  expose: Texts.optional(),
  /** Short form: data:/var/lib/x, /path/on/host:/path:ro. */
  volumes: Texts.optional(),
  networks: Texts.optional(),
  extra_hosts: Texts.optional(),
  depends_on: z.array(ServiceName).optional(),
  restart: z
    .string()
    .regex(
      /^(?:no|always|unless-stopped|on-failure(?::\d+)?)$/,
      'restart is "no", always, unless-stopped or on-failure:N',
    )
    .optional(),
  healthcheck: z
    .strictObject({
      test: Command.optional(),
      interval: Duration.optional(),
      timeout: Duration.optional(),
      start_period: Duration.optional(),
      retries: z.int().positive().optional(),
      disable: z.boolean().optional(),
    })
    .optional(),
  user: z.string().min(1).optional(),
  cap_add: Texts.optional(),
  cap_drop: Texts.optional(),
  security_opt: Texts.optional(),
  devices: Texts.optional(),
  tmpfs: Texts.optional(),
  read_only: z.boolean().optional(),
  init: z.boolean().optional(),
  mem_limit: z.union([z.string(), z.number()]).optional(),
  cpus: z.union([z.string(), z.number()]).optional(),
  stop_grace_period: Duration.optional(),
  /** Resources that its process reads when it starts: it is restarted when one was changed after that. */
  restartOn: z.array(Ref).optional(),
  logging: z
    .strictObject({ driver: z.string().optional(), options: z.record(z.string(), Scalar).optional() })
    .optional(),
};

const AddedService = z.strictObject({
  image: z.string().min(1),
  ...common,
  command: Command.optional(),
  entrypoint: Command.optional(),
  container_name: z.string().min(1).optional(),
  hostname: z.string().min(1).optional(),
  working_dir: z.string().startsWith('/').optional(),
  network_mode: z.string().min(1).optional(),
  pid: z.string().min(1).optional(),
  privileged: z.boolean().optional(),
});
const ExtendedService = z.strictObject({
  /** Arguments that join the command which stands in the base file; left out where they stand there already. */
  appendCommand: z.array(z.string().min(1)).min(1).optional(),
  ...common,
});

export const ComposeProjectSpec = z.strictObject({
  /** Where the user's compose file is. */
  directory: AbsolutePath,
  /** For who says `docker compose --project-name`; by default compose's own answer (`name:`, .env, the directory). */
  project: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_-]*$/, 'a project’s name has lower-case letters, digits, "_" and "-"')
    .optional(),
  /** Services that we add. */
  services: z.record(ServiceName, AddedService).optional(),
  /** What we add to services of the user's files. */
  extend: z.record(ServiceName, ExtendedService).optional(),
  /** Named volumes of the services that we add. */
  volumes: z.record(z.string().min(1), z.strictObject({ external: z.boolean().optional() })).optional(),
  /** The docker program, by name or absolute path; default: docker on PATH. */
  docker: z
    .string()
    .regex(/^(?:\/\S+|[A-Za-z0-9._-]+)$/, 'a program is a name on PATH, or an absolute path')
    .optional(),
});
export type ComposeProjectSpec = z.infer<typeof ComposeProjectSpec>;
export type AddedService = z.infer<typeof AddedService>;
export type ExtendedService = z.infer<typeof ExtendedService>;

/** What apply remembers of the services that were brought to where they should be, by name. */
export const Memory = z.object({
  digest: z.string(),
  /** Compose's hashes of the containers that it made. */
  hashes: z.record(z.string(), z.string()),
  /** The same hashes by `docker compose config`, with the values that .env had. */
  resolved: z.record(z.string(), z.string()).optional(),
  /** Of the text of .env that they are of. */
  dotenv: z.string().optional(),
  /** By ID of the container. */
  starts: z.record(z.string(), Start).optional(),
});
export type Memory = z.infer<typeof Memory>;
export type D = Desired<ComposeProjectSpec, Memory>;

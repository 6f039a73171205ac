export type Obj = Record<string, unknown>;

/** A request that Grafana refuses. */
export class Refusal extends Error {
  readonly status: number;
  readonly reason: string;
  constructor(status: number, message: string, reason = '') {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

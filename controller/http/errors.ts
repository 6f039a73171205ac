// Every error that the controller's HTTP API answers with, its status, and nothing else: `{error: {code, message}}`.

export const ERRORS = {
  BadRequest: 400,
  Unsigned: 401,
  BadSignature: 401,
  /** The Date header of the answer tells the time to sign by. */
  ClockSkew: 401,
  Replayed: 401,
  NotEnrolled: 401,
  NotAnOperator: 401,
  NotAScraper: 401,
  TokenUnknown: 403,
  TokenUsed: 403,
  TokenExpired: 403,
  TokenRevoked: 403,
  TokenForOtherHost: 403,
  WrongNode: 403,
  WrongOrigin: 403,
  HookRefused: 403,
  /** The host is not in git. */
  Unassigned: 404,
  NotFound: 404,
  KeyPinned: 409,
  TooLarge: 413,
  /** Asked by a name that may be somebody else's (DNS rebinding). */
  WrongHost: 421,
  RateLimited: 429,
  Internal: 500,
  WhoisUnavailable: 503,
  StoreUnavailable: 503,
  PayloadUnavailable: 503,
  NothingServed: 503,
  /** Come back later: the controller is being stopped. */
  Stopping: 503,
} as const;
export type ErrorCode = keyof typeof ERRORS;

export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly code: ErrorCode;
  readonly statusCode: number;
  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
    this.statusCode = ERRORS[code];
  }
}

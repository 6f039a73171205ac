// Grafana, or who asks it, in a state in which nothing of it can be seen.
import type { StandInGrafana } from '../support/grafana/grafana.ts';
import type { Opened } from './fixture.ts';

export function grafanaUnwell(grafana: StandInGrafana): NonNullable<Opened['unwell']> {
  const [[user, account] = []] = grafana.users;
  if (user === undefined || account === undefined) throw new Error('the fixture names no user');
  const port = Number(new URL(grafana.url).port);
  const answers = (broken: typeof grafana.broken) => () => {
    grafana.broken = broken;
  };
  return {
    'Grafana stopped': {
      harm: () => grafana.stop(),
      repair: async () => void (await grafana.start(port)),
    },
    'Grafana starting': {
      harm: answers({ status: 503, body: { message: 'starting up' } }),
      repair: answers(undefined),
    },
    'a proxy that does not find it': {
      harm: answers({ status: 404, body: '<html>404 Not Found</html>' }),
      repair: answers(undefined),
    },
    'a page in place of its answers': {
      harm: answers({ status: 200, body: '<html>Welcome</html>' }),
      repair: answers(undefined),
    },
    'its user forbidden': {
      harm: answers({ status: 403, body: { message: 'Access denied' } }),
      repair: answers(undefined),
    },
    'its user deleted': {
      harm: () => void grafana.users.delete(user),
      repair: () => void grafana.users.set(user, account),
    },
  };
}

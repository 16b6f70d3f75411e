import assert from 'node:assert/strict';
import { it } from 'node:test';
import { runnerTemplate } from '../../src/model/pod-overlay.ts';

it('an overlay is merged by name into the pod that it gets without one', () => {
  assert.deepEqual(runnerTemplate({}, 'ours').spec, {
    restartPolicy: 'Never',
    containers: [{ name: 'main', image: 'ours' }],
  });
  const podTemplateOverlay = `
    metadata: { labels: { team: data } }
    spec: { containers: [{ name: main, env: [{ name: A, value: b }] }, { name: other, image: x }] }`;
  const { metadata, spec } = runnerTemplate({ image: 'theirs', podTemplateOverlay }, 'ours');
  assert.deepEqual(metadata, { labels: { team: 'data' } });
  assert.deepEqual(spec.containers, [
    { name: 'main', image: 'theirs', env: [{ name: 'A', value: 'b' }] },
    { name: 'other', image: 'x' },
  ]);
});

it('one that takes away what a step needs is refused, without a value of it', () => {
  assert.throws(() => runnerTemplate({ podTemplateOverlay: 'spec: { restartPolicy: Always }' }, 'ours'), {
    code: 'step/overlay-invalid',
    message: /restartPolicy must be Never/,
  });
});

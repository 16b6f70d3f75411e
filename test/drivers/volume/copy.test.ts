import { volumeDriverConformance } from '../../conformance/volume-driver.ts';
import { testBranches } from '../../support/postgres.ts';

volumeDriverConformance('copy', false, () => testBranches('copy'));

import { brokenParent } from '../../scripts/soak/broken-parent.ts';
import { tenth } from './tenth.ts';

tenth(brokenParent);

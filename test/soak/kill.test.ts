import { kill } from '../../scripts/soak/kill.ts';
import { tenth } from './tenth.ts';

tenth(kill);

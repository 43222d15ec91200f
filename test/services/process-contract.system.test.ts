import { describeServiceDriver } from '../contracts/service-driver.ts'
import { createProcessWorld, programPath } from './process-world.ts'

describeServiceDriver('for processes', async () => {
  const world = createProcessWorld()
  const serviceOf = (id: string, program: string) => world.serviceOf([programPath(program)], { id })
  return {
    driver: world.openDriver(),
    service: serviceOf('one', 'lasting.sh'),
    neighbour: serviceOf('two', 'lasting.sh'),
    failing: { service: serviceOf('fails', 'no-such-program'), code: 'SERVICE_START_FAILED' },
    stubborn: serviceOf('stubborn', 'stubborn.sh'),
    ending: world.serviceOf(['sh', '-c', 'exit 0'], { id: 'ends' }),
    close: world.close,
  }
})

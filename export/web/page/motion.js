// Poses over time: from one pose to another, and a dance of any pose.

/** The pose between two: `weight` 0 is the first. A joint that one of them lacks is as in the second. */
export function between(first, second, weight) {
  const along = (a, b) => a + weight * (b - a);
  return second.map((joint, i) => joint && first[i] ? [along(first[i][0], joint[0]), along(first[i][1], joint[1])] : joint);
}

/** A pose as it dances after some seconds: the feet stay, the body sways, the arms swing. */
export function danced(pose, seconds, skeleton) {
  const index = Object.fromEntries(skeleton.joints.map(({ name }, i) => [name, i]));
  const beat = 2 * Math.PI * seconds;
  let joints = pose;

  const turn = (name, angle) => {
    const { carries } = skeleton.joints[index[name]];
    const centre = joints[index[name]];
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const turned = ([x, y]) => [
      centre[0] + cos * (x - centre[0]) - sin * (y - centre[1]),
      centre[1] + sin * (x - centre[0]) + cos * (y - centre[1]),
    ];
    if (centre) joints = joints.map((joint, i) => (joint && carries.includes(i) ? turned(joint) : joint));
  };

  for (const [side, out, late] of [["r", 1, 0], ["l", -1, Math.PI]]) {
    turn(`${side}elbow`, out * 0.6 * Math.sin(beat + late));
    turn(`${side}shoulder`, out * (0.5 + 0.45 * Math.sin(beat / 2 + late)));
  }
  const [sway, dip] = [0.035 * Math.sin(beat / 2), 0.018 * (1 - Math.cos(beat))];
  return joints.map((joint, i) => {
    const share = { ankle: 0, knee: 0.5 }[skeleton.joints[i].name.slice(1)] ?? 1;
    return joint && [clamped(joint[0] + share * sway), clamped(joint[1] + share * dip)];
  });
}

function clamped(part) {
  return Math.min(Math.max(part, 0), 1);
}

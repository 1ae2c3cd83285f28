// The picture as a PNG file.

/**
 * @param {HTMLVideoElement} video
 * @param {string} name of the camera
 * @param {Date} time of the picture
 */
export async function saveSnapshot(video, name, time) {
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext('2d').drawImage(video, 0, 0);
  const png = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(png);
  link.download = fileName(name, time);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // the download has begun by then
}

/**
 * "hero 2026-03-01 09.05.07.042.png", in local time.
 * @param {string} name
 * @param {Date} time
 */
export function fileName(name, time) {
  const two = (n) => String(n).padStart(2, '0');
  const day = [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join('-');
  const clock = [two(time.getHours()), two(time.getMinutes()), two(time.getSeconds())].join('.');
  const ms = String(time.getMilliseconds()).padStart(3, '0');
  const safe = name.replace(/[^\p{L}\p{N}_-]+/gu, '-').replace(/^-+|-+$/g, '') || 'camera';
  return `${safe} ${day} ${clock}.${ms}.png`;
}

// Makes the models of this folder with TensorFlow.js, and computes with it what they answer:
//
//   npm install --prefix /tmp/tfjs @tensorflow/tfjs-{core,layers,backend-cpu}@4.22.0
//   NODE_PATH=/tmp/tfjs/node_modules node make.mjs       (writes the models that are missing, and all answers)
//
// Each model is one of a kind that people have: Teachable Machine's three projects, a functional text model, and, made
// by convert.py out of the last, what TensorFlow's converter writes. Inputs are not stored: they follow from a formula.
import fs from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';

const require = createRequire(import.meta.url);  // They may lie in a folder of NODE_PATH.
const tf = {...require('@tensorflow/tfjs-core'), ...require('@tensorflow/tfjs-layers')};
require('@tensorflow/tfjs-backend-cpu');
const here = path.dirname(new URL(import.meta.url).pathname);
const l = tf.layers;
let seed = 1;
const normal = () => tf.initializers.randomNormal({stddev: 0.4, seed: seed++});
const weights = () => ({kernelInitializer: normal(), biasInitializer: normal()});

function picture() {  // A truncated MobileNet and two dense layers, as the image project nests them.
  const input = tf.input({shape: [20, 20, 3], name: 'input_1'});
  const convolution = (x, name, filters) => {
    const y = l.conv2d({filters, kernelSize: 3, strides: 2, padding: 'same', useBias: false, name,
                        ...weights()}).apply(x);
    const z = l.batchNormalization({epsilon: 0.001, name: name + '_BN', gammaInitializer: normal(),
                                    movingMeanInitializer: normal()}).apply(y);
    return l.reLU({maxValue: 6, name: name + '_relu'}).apply(z);
  };
  let x = convolution(input, 'Conv1', 4);
  x = l.zeroPadding2d({padding: [[0, 1], [0, 1]], name: 'Conv_pad'}).apply(x);
  x = l.depthwiseConv2d({kernelSize: 3, padding: 'valid', strides: 2, useBias: false, name: 'depthwise',
                         depthwiseInitializer: normal()}).apply(x);
  const projected = l.conv2d({filters: 6, kernelSize: 1, name: 'project', ...weights()}).apply(x);
  const more = l.conv2d({filters: 6, kernelSize: 1, name: 'more', ...weights()}).apply(projected);
  const output = l.add({name: 'residual'}).apply([projected, more]);
  const body = tf.sequential({name: 'sequential_1'});
  body.add(tf.model({inputs: input, outputs: output, name: 'model1'}));
  body.add(l.globalAveragePooling2d({name: 'global_average_pooling2d_GlobalAveragePooling2D1'}));
  const head = tf.sequential({name: 'sequential_3'});
  head.add(l.dense({inputShape: [6], units: 10, activation: 'relu', name: 'dense_Dense1', ...weights()}));
  head.add(l.dense({units: 3, activation: 'softmax', useBias: false, name: 'dense_Dense2', ...weights()}));
  const model = tf.sequential({name: 'sequential_4'});
  model.add(body);
  model.add(head);
  return model;
}

function sound() {
  const model = tf.sequential({name: 'sequential_1'});
  model.add(l.conv2d({inputShape: [43, 232, 1], filters: 3, kernelSize: [2, 8], activation: 'relu', name: 'conv2d_1',
                      ...weights()}));
  model.add(l.maxPooling2d({poolSize: [6, 24], strides: [6, 24], name: 'max_pooling2d_1'}));
  model.add(l.flatten({name: 'flatten_1'}));
  model.add(l.dropout({rate: 0.25, name: 'dropout_1'}));
  model.add(l.dense({units: 8, activation: 'relu', name: 'dense_1', ...weights()}));
  const head = tf.sequential({name: 'sequential_2'});
  head.add(l.dense({inputShape: [8], units: 2, activation: 'softmax', name: 'NewHeadDense', ...weights()}));
  model.add(head);
  return model;
}

function pose() {
  const model = tf.sequential({name: 'sequential_1'});
  model.add(l.dense({inputShape: [34], units: 12, activation: 'relu', name: 'dense_Dense1', ...weights()}));
  model.add(l.dropout({rate: 0.5, name: 'dropout_Dropout1'}));
  model.add(l.dense({units: 2, activation: 'softmax', useBias: false, name: 'dense_Dense2', ...weights()}));
  return model;
}

function text() {
  const input = tf.input({shape: [12], dtype: 'int32', name: 'tokens'});
  let x = l.embedding({inputDim: 40, outputDim: 6, name: 'embedding', embeddingsInitializer: normal()}).apply(input);
  x = l.timeDistributed({layer: l.dense({units: 5, name: 'inner', activation: 'tanh', ...weights()}),
                         name: 'each'}).apply(x);
  x = l.bidirectional({layer: l.lstm({units: 4, recurrentActivation: 'hardSigmoid', name: 'lstm',
                                      ...weights(), recurrentInitializer: normal()}),
                       mergeMode: 'concat', name: 'both'}).apply(x);
  const output = l.dense({units: 4, name: 'logits', ...weights()}).apply(x);
  return tf.model({inputs: input, outputs: l.softmax({name: 'probabilities'}).apply(output), name: 'text'});
}

export function inputs(shape, integers) {  // Element i is (37 i mod 101) / 50 - 1, or that number mod 40.
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(Float32Array.from({length: size}, (_, i) => integers ? (i * 37 % 101) % 40 : (i * 37 % 101) / 50 - 1),
                   shape, integers ? 'int32' : 'float32');
}

export function reader(folder) {
  const document = JSON.parse(fs.readFileSync(path.join(folder, 'model.json')));
  const specs = document.weightsManifest.flatMap(group => group.weights);
  const data = Buffer.concat(document.weightsManifest.flatMap(g => g.paths.map(p => fs.readFileSync(path.join(folder, p)))));
  return {load: async () => ({modelTopology: document.modelTopology, weightSpecs: specs,
                              weightData: data.buffer.slice(data.byteOffset, data.byteOffset + data.length)})};
}

export function writer(folder, name = 'weights.bin') {
  return {save: async made => {
    fs.mkdirSync(folder, {recursive: true});
    fs.writeFileSync(path.join(folder, name), Buffer.from(made.weightData));
    fs.writeFileSync(path.join(folder, 'model.json'), JSON.stringify({
      modelTopology: made.modelTopology, format: 'layers-model', generatedBy: 'TensorFlow.js tfjs-layers v4.22.0',
      convertedBy: null, weightsManifest: [{paths: [name], weights: made.weightSpecs}]}));
    return {modelArtifactsInfo: {}};
  }};
}

export async function answers(folder) {
  const model = await tf.loadLayersModel(reader(folder));
  const shape = model.inputs[0].shape.slice(1).map(n => n ?? 12);
  return model.predict(inputs([3, ...shape], model.inputs[0].dtype === 'int32')).array();
}

const metadata = {
  picture: {tfjsVersion: '1.7.4', tmVersion: '2.4.10', packageVersion: '0.8.4-alpha2', packageName: '@teachablemachine/image',
            timeStamp: '2024-01-01T00:00:00.000Z', userMetadata: {}, modelName: 'tm-my-image-model',
            labels: ['Class 1', 'cat', 'Hündin'], imageSize: 20},
  sound: {tfjsSpeechCommandsVersion: '0.4.2', modelName: 'TMv2', timeStamp: '2024-01-01T00:00:00.000Z',
          wordLabels: ['Background Noise', 'clap']},
  pose: {packageVersion: '0.8.3', packageName: '@teachablemachine/pose', modelName: 'tm-my-pose-model',
         labels: ['left', 'right'],
         modelSettings: {posenet: {architecture: 'MobileNetV1', outputStride: 16, inputResolution: 257, multiplier: 0.75}}},
};

if (process.argv[1] === new URL(import.meta.url).pathname) {
  for (const [name, build] of Object.entries({picture, sound, pose, text})) {
    const folder = path.join(here, name);
    if (fs.existsSync(folder)) continue;
    seed = 1;
    await build().save(writer(folder));
    if (metadata[name]) fs.writeFileSync(path.join(folder, 'metadata.json'), JSON.stringify(metadata[name]));
  }
  const all = {};
  for (const name of fs.readdirSync(here)) {
    if (fs.existsSync(path.join(here, name, 'model.json'))) all[name] = await answers(path.join(here, name));
  }
  fs.writeFileSync(path.join(here, 'answers.json'), JSON.stringify(all) + '\n');
}

//! Checkpoints as other programs leave them: read as what they are, or refused with what helps. No PyTorch is needed: the
//! files are put together here.

use std::io::Write;
use std::path::Path;
use trm::checkpoint::{Checkpoint, ModelFile, PaperCheckpoint};
use trm::config::{NetworkConfig, TrmConfig, Update};
use trm::model::Network;
use trm::tensor::{StateDict, Tensor};

/// A value of a pickle.
#[derive(Clone)]
enum Value {
    Int(i32),
    Text(&'static str),
    Dict(Vec<(String, Value)>),
    Tensor(Tensor),
    /// A scalar of NumPy: its type and bytes.
    Numpy(&'static str, Vec<u8>),
    /// Opcodes as they are.
    Raw(&'static [u8]),
}
use Value::{Dict, Int, Numpy, Raw, Text};

/// Pickle and storages of a value; `legacy` names storages as torch.save did before version 1.6.
fn pickle(value: &Value, legacy: bool) -> (Vec<u8>, Vec<Vec<f32>>) {
    let (mut out, mut storages) = (vec![0x80, 2], Vec::new());
    write(value, legacy, &mut out, &mut storages);
    out.push(b'.');
    (out, storages)
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn int(out: &mut Vec<u8>, value: i32) {
    out.push(b'J');
    out.extend(value.to_le_bytes());
}

fn write(value: &Value, legacy: bool, out: &mut Vec<u8>, storages: &mut Vec<Vec<f32>>) {
    match value {
        Int(value) => int(out, *value),
        Text(value) => text(out, value),
        Raw(opcodes) => out.extend(*opcodes),
        Dict(items) => {
            out.extend(b"}(");
            for (key, value) in items {
                text(out, key);
                write(value, legacy, out, storages);
            }
            out.push(b'u');
        }
        Numpy(kind, bytes) => {
            out.extend(b"cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\n");
            text(out, kind);
            out.extend(b"\x89\x88\x87R");
            out.extend(b"c_codecs\nencode\n");
            text(out, &bytes.iter().map(|b| char::from(*b)).collect::<String>());
            text(out, "latin1");
            out.extend(b"\x86R\x86R");
        }
        Value::Tensor(tensor) => {
            out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
            text(out, "storage");
            out.extend(b"ctorch\nFloatStorage\n");
            text(out, &storages.len().to_string());
            text(out, "cpu");
            int(out, tensor.data.len() as i32);
            if legacy {
                out.push(b'N');
            }
            out.extend(b"tQ");
            int(out, 0);
            let mut strides = vec![1; tensor.shape.len()];
            (1..strides.len()).rev().for_each(|i| strides[i - 1] = strides[i] * tensor.shape[i]);
            for list in [&tensor.shape, &strides] {
                out.push(b'(');
                list.iter().for_each(|n| int(out, *n as i32));
                out.push(b't');
            }
            out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
            storages.push(tensor.data.clone());
        }
    }
}

/// Writes a value as torch.save does.
fn save(path: &Path, value: &Value) {
    let (pickle, storages) = pickle(value, false);
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let mut entry = |name: String, bytes: &[u8]| {
        zip.start_file(format!("{stem}/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    };
    entry("data.pkl".into(), &pickle);
    for (i, values) in storages.iter().enumerate() {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        entry(format!("data/{i}"), &bytes);
    }
    entry("version".into(), b"3\n");
    zip.finish().unwrap();
}

/// Writes a value as torch.save did before version 1.6.
fn save_legacy(path: &Path, value: &Value) {
    let mut bytes = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    bytes.extend(pickle(&Dict(vec![("little_endian".into(), Raw(b"\x88"))]), true).0);
    let (object, storages) = pickle(value, true);
    bytes.extend(object);
    bytes.extend(b"\x80\x02](");
    (0..storages.len()).for_each(|i| text(&mut bytes, &i.to_string()));
    bytes.extend(b"e.");
    for values in &storages {
        bytes.extend((values.len() as u64).to_le_bytes());
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }
    std::fs::write(path, bytes).unwrap();
}

fn network() -> NetworkConfig {
    let sizes =
        NetworkConfig { hidden_dim: 4, l_layers: 2, l_cycles: 3, h_cycles: 2, ..NetworkConfig::default() };
    NetworkConfig { update: Update::Original, ..sizes }
}

fn model() -> StateDict {
    Network::first_weights(&network(), 0).state_dict()
}

/// The state dict with something before its names.
fn state(prefix: &str) -> Value {
    Dict(
        model()
            .into_iter()
            .map(|(name, tensor)| (format!("{prefix}{name}"), Value::Tensor(tensor)))
            .collect(),
    )
}

/// The configuration, with one value changed or, for nothing, left out.
fn config(key: &str, value: Option<Value>) -> Value {
    let numbers = [
        ("input_dim", 810),
        ("hidden_dim", 4),
        ("output_dim", 729),
        ("L_layers", 2),
        ("H_cycles", 2),
        ("L_cycles", 3),
    ];
    let mut items: Vec<_> = numbers
        .into_iter()
        .filter(|(name, _)| *name != key)
        .map(|(name, n)| (name.to_string(), Int(n)))
        .collect();
    items.extend(value.map(|value| (key.to_string(), value)));
    Dict(items)
}

fn dict(items: Vec<(&str, Value)>) -> Value {
    Dict(items.into_iter().map(|(key, value)| (key.to_string(), value)).collect())
}

fn in_folder(test: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    test(folder.path());
}

/// Asserts that a file holds the model, with its cycles.
fn is_the_model(path: &Path, settings: &[&str], what: &str) {
    let settings: Vec<String> = settings.iter().map(|s| (*s).to_string()).collect();
    let read = Checkpoint::read_with(path, &settings).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(read.model, model(), "{what}");
    let network = read.config.network;
    assert_eq!((network.h_cycles, network.l_cycles, network.update), (2, 3, Update::Original), "{what}");
}

#[test]
fn modules_around_a_model_and_other_keys_make_no_difference() {
    in_folder(|folder| {
        let path = folder.join("model.pt");
        let prefixes = [
            "",
            "module.",
            "_orig_mod.",
            "_orig_mod.module.",
            "module.module.",
            "model.",
            "model._orig_mod.",
            "net.",
        ];
        for prefix in prefixes {
            for key in ["model_state_dict", "state_dict", "model", "net"] {
                for config_key in ["config", "hyper_parameters", "args"] {
                    let value =
                        dict(vec![("epoch", Int(3)), (key, state(prefix)), (config_key, config("", None))]);
                    let what = format!("{key}, {prefix}, {config_key}");
                    save(&path, &value);
                    is_the_model(&path, &[], &what);
                    save_legacy(&path, &value);
                    is_the_model(&path, &[], &format!("{what}, legacy"));
                }
            }
            save(&path, &state(prefix));
            is_the_model(&path, &["H_cycles=2", "L_cycles=3", "update=original"], prefix);
        }
        let Dict(mut two) = state("student.") else { unreachable!() };
        let Dict(other) = state("teacher.") else { unreachable!() };
        two.extend(other);
        save(&path, &dict(vec![("state_dict", Dict(two)), ("config", config("", None))]));
        let message = Checkpoint::read(&path).unwrap_err().to_string();
        assert!(message.contains("`student.`, `teacher.`") && message.contains("alone"), "{message}");
    });
}

#[test]
fn what_a_file_does_not_tell_is_asked_for_and_never_assumed() {
    in_folder(|folder| {
        let path = folder.join("model.pt");
        let refused = |words: &[&str]| {
            let message = Checkpoint::read(&path).unwrap_err().to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        };
        let with = |key: &str, value: Option<Value>| {
            save(&path, &dict(vec![("model_state_dict", state("")), ("config", config(key, value))]));
        };
        for kind in ["i8", "i4", "i2", "i1", "u2", "f8", "f4"] {
            let bytes = match kind {
                "f8" => 2f64.to_le_bytes().to_vec(),
                "f4" => 2f32.to_le_bytes().to_vec(),
                whole => 2i64.to_le_bytes()[..whole[1..].parse().unwrap()].to_vec(),
            };
            with("H_cycles", Some(Numpy(kind, bytes)));
            is_the_model(&path, &[], kind);
        }
        with("H_cycles", Some(Value::Tensor(Tensor { shape: vec![], data: vec![2.0] })));
        is_the_model(&path, &[], "a tensor");
        // Sizes are seen in the weights.
        with("hidden_dim", None);
        is_the_model(&path, &[], "no hidden_dim");
        for (value, words) in [
            (None, ["--set H_cycles=N", ""]),
            (Some(Text("4")), ["the text \"4\" for H_cycles", "--set H_cycles=N"]),
            (Some(Raw(b"N")), ["None for H_cycles", "--set H_cycles=N"]),
            (Some(Raw(b"\x88")), ["true for H_cycles", "--set H_cycles=N"]),
            (Some(Raw(b"G\x40\x04\0\0\0\0\0\0")), ["2.5 for H_cycles", "--set H_cycles=N"]),
            (Some(Int(0)), ["0 for H_cycles", "--set H_cycles=N"]),
        ] {
            with("H_cycles", value);
            refused(&words);
            is_the_model(&path, &["H_cycles=2"], words[0]);
        }
        with("hidden_dim", Some(Int(64)));
        refused(&["hidden_dim = 64", "its weights have 4", "--set hidden_dim=4"]);
        is_the_model(&path, &["hidden_dim=4"], "told which is right");
        // What only training needs, and names that mean something else elsewhere, are the other program's business.
        let Dict(mut items) = config("", None) else { unreachable!() };
        for (key, value) in [
            ("epochs", Int(0)),
            ("batch_size", Int(-1)),
            ("lr", Text("1e-4")),
            ("gates", Int(0)),
            ("seed", Int(-1)),
            ("dropout", Int(7)),
            ("update", Int(3)),
        ] {
            items.push((key.into(), value));
        }
        items.push(("weight_decay".into(), Raw(b"G\x3f\xe0\0\0\0\0\0\0")));
        save(&path, &dict(vec![("model_state_dict", state("")), ("config", Dict(items))]));
        is_the_model(&path, &[], "settings of training out of range");
        assert_eq!(
            Checkpoint::read(&path).unwrap().config.training.weight_decay,
            0.5,
            "what makes sense is kept"
        );

        save(&path, &state(""));
        refused(&["--set H_cycles=N", "--set L_cycles=N", "update=original"]);
        save(&path, &dict(vec![("model", Raw(b"c__main__\nModel\n)\x81"))]));
        refused(&["__main__.Model", "whose code is not run", "state_dict()"]);
        save(&path, &dict(vec![("epoch", Int(3))]));
        refused(&["no `model_state_dict`", "found `epoch`"]);
    });
}

#[test]
fn settings_of_our_own_files_cannot_be_changed() {
    in_folder(|folder| {
        for name in ["model.pt", "model.safetensors"] {
            let path = folder.join(name);
            let config = TrmConfig { network: network(), ..TrmConfig::default() };
            let own = Checkpoint { model: model(), config, optimizer: None, history: None, training: None };
            own.write(&path).unwrap();
            let message = ModelFile::read_with(&path, &["H_cycles=5".into()]).unwrap_err().to_string();
            assert!(message.contains("cannot be changed"), "{message}");
        }
    });
}

#[test]
fn safetensors_saved_again_by_others_need_what_they_lost() {
    in_folder(|folder| {
        let path = folder.join("model.safetensors");
        let save = |metadata: &[(&str, &str)]| {
            let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = model()
                .into_iter()
                .map(|(name, t)| (name, t.shape, t.data.iter().flat_map(|v| v.to_le_bytes()).collect()))
                .collect();
            let views = bytes.iter().map(|(name, shape, bytes)| {
                (
                    name.clone(),
                    safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes)
                        .unwrap(),
                )
            });
            let metadata = metadata.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
            safetensors::serialize_to_file(views, Some(metadata), &path).unwrap();
        };
        save(&[("format", "pt")]);
        let message = Checkpoint::read(&path).unwrap_err().to_string();
        assert!(message.contains("--set H_cycles=N") && message.contains("update=original"), "{message}");
        is_the_model(&path, &["H_cycles=2", "L_cycles=3", "update=original"], "told by hand");
        save(&[("config", "{\"H_cycles\": 2, \"L_cycles\": 3, \"hidden_dim\": 4}")]);
        is_the_model(&path, &[], "told as JSON");
        save(&[("config", "{\"H_cycles\": 2}")]);
        assert!(Checkpoint::read(&path).unwrap_err().to_string().contains("--set L_cycles=N"));
    });
}

/// The bytes of a .zip with the records of a large one, as PyTorch writes them for every file.
fn with_zip64_records(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.len() - 22;
    assert_eq!(&bytes[end..end + 4], b"PK\x05\x06");
    let field = |at: usize, len: usize| {
        let mut wide = [0; 8];
        wide[..len].copy_from_slice(&bytes[end + at..end + at + len]);
        u64::from_le_bytes(wide)
    };
    let (entries, size, start) = (field(10, 2), field(12, 4), field(16, 4));
    let mut out = bytes[..end].to_vec();
    out.extend(b"PK\x06\x06");
    out.extend(44u64.to_le_bytes());
    out.extend([30, 3, 45, 0]);
    out.extend([0; 8]);
    [entries, entries, size, start].iter().for_each(|n| out.extend(n.to_le_bytes()));
    out.extend(b"PK\x06\x07\0\0\0\0");
    out.extend((end as u64).to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend(&bytes[end..]);
    out
}

#[test]
fn files_load_whatever_the_length_of_their_name() {
    in_folder(|folder| {
        let value = dict(vec![("model_state_dict", state("")), ("config", config("", None))]);
        let mut fooled = 0;
        for length in 1..=64 {
            let path = folder.join(format!("{}.pt", "m".repeat(length)));
            save(&path, &value);
            let bytes = with_zip64_records(&std::fs::read(&path).unwrap());
            std::fs::write(&path, &bytes).unwrap();
            is_the_model(&path, &[], &format!("{length} characters"));
            // A reader that looks for bytes before the archive is fooled by some of them.
            fooled += usize::from(zip::ZipArchive::new(std::io::Cursor::new(bytes)).is_err_and(|_| true));
        }
        assert!(fooled > 0, "no name fools a reader that searches: this test shows nothing");
    });
}

#[test]
fn an_official_checkpoint_takes_its_settings_from_the_file_beside_it_and_names_what_is_assumed() {
    use trm::model::paper::{Config, Network, Settings};
    use trm::network::Weights;
    in_folder(|folder| {
        let config =
            Config { hidden_size: 32, l_layers: 1, mlp_width: 4, puzzle_emb_ndim: 40, ..Config::default() };
        let checkpoint = PaperCheckpoint {
            model: Weights::zeros(&Network::layout(&config)).state_dict(),
            config: Settings { model: config, ..Settings::default() },
            optimizer: None,
            history: None,
            training: None,
        };
        let path = folder.join("step_100");
        checkpoint.write(&path).unwrap();
        let read = |settings: &[String]| {
            let (file, assumed) = ModelFile::read_noting(&path, settings).unwrap();
            let ModelFile::Paper(paper) = file else { panic!("a model of the paper") };
            (paper.config.model, assumed.join(" "))
        };
        let (config, assumed) = read(&[]);
        assert_eq!((config.h_cycles, config.num_heads), (3, 8));
        assert_eq!(
            assumed,
            "H_cycles=3 L_cycles=6 halt_max_steps=16 num_heads=8 rope_theta=10000.0 puzzle_emb_len=16"
        );
        let yaml = "arch:\n  H_cycles: 2  # outer\n  L_cycles: 4\n  halt_max_steps: 8\n  hidden_size: 32\n  num_heads: 4\n  \
                    puzzle_emb_len: 16\n  rope_theta: 10000.0\nseed: 0\n";
        std::fs::write(folder.join("all_config.yaml"), yaml).unwrap();
        let (config, assumed) = read(&["num_heads=2".into()]);
        assert_eq!((config.h_cycles, config.l_cycles, config.halt_max_steps, config.num_heads), (2, 4, 8, 2));
        assert_eq!(assumed, "");
        // Our own files tell everything.
        let own = folder.join("own.safetensors");
        checkpoint.write(&own).unwrap();
        assert!(ModelFile::read_noting(&own, &[]).unwrap().1.is_empty());
    });
}
